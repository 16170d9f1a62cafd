"""What happens by the calendar: a weekly update, a monthly training from scratch, daily predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg
import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.defs.jobs import INCREMENTAL, PREDICT, RETRAIN, run_config
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.defs.runs import CAUSE, succeeded
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.services.champion.renewal import month_to_score
from cleverbetter_dagster.services.champion.training_plan import plan_training
from cleverbetter_dagster.services.ingest.sensor_state import Cursor, poll, training_status
from cleverbetter_dagster.settings import Settings

AsOfOrReason = str | dg.SkipReason
"""The month to run at, or why there is nothing to do."""


@dataclass(frozen=True)
class _Calendar:
    """A schedule: when it runs which job, how it finds the month, and how it trains, if it does."""

    name: str
    job: str
    cron: str
    description: str
    month: Callable[[dg.ScheduleEvaluationContext, Settings], AsOfOrReason]
    training: Literal["update", "full"] | None = None


def schedules(families: Sequence[str], settings: Settings) -> list[dg.ScheduleDefinition]:
    """The three schedules, in the time zone of the settings. They start by themselves if automation is on.

    Raises:
        SettingsError: a cron expression cannot be read; the message names its variable.
    """
    calendars = [
        _Calendar(
            "weekly_update",
            RETRAIN,  # without the studies if it is an update: a schedule has only one job
            settings.weekly_update_cron,
            "Updates the models with all changed rows, however few, without tuning. Trains in full if a family has no "
            "version to update. Nothing runs if nothing changed.",
            _newest_unless_trained,
            "update",
        ),
        _Calendar(
            "monthly_training",
            RETRAIN,
            settings.monthly_training_cron,
            "Tunes and trains every family from scratch as of the month just closed.",
            _month_just_closed,
            "full",
        ),
        _Calendar(
            "daily_predictions",
            PREDICT,
            settings.daily_predictions_cron,
            "Scores every live strategy with the champion, as of the newest month with rows.",
            _newest_loaded,
        ),
    ]
    return [_schedule(calendar, families, settings) for calendar in calendars]


def _schedule(calendar: _Calendar, families: Sequence[str], settings: Settings) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext, deployment: Deployment) -> dg.RunRequest | dg.SkipReason:
        current = deployment.settings()
        month = calendar.month(context, current)
        if isinstance(month, dg.SkipReason):
            return month
        update = families if calendar.training == "update" else ()
        training = _training(context, current, month, update) if calendar.training else {}
        run_key = context.scheduled_execution_time.isoformat()
        return dg.RunRequest(run_key=run_key, partition_key=month, tags={CAUSE: calendar.name}, **training)

    status = dg.DefaultScheduleStatus
    try:
        return dg.schedule(
            name=calendar.name,
            job_name=calendar.job,
            cron_schedule=calendar.cron,
            execution_timezone=settings.timezone,
            description=calendar.description,
            default_status=status.RUNNING if settings.automation else status.STOPPED,
        )(evaluate)
    except dg.DagsterInvalidDefinitionError as error:
        raise SettingsError(
            f"CLEVERBETTER_{calendar.name.upper()}_CRON is {calendar.cron!r}, which is not a cron expression; write "
            "five fields, such as '0 5 * * 1' for Mondays at five."
        ) from error


def _training(
    context: dg.ScheduleEvaluationContext, settings: Settings, month: str, update: Sequence[str]
) -> dict[str, Any]:
    """Run configuration of a training as of `month`, and the asset selection if it is an update."""
    plan = plan_training(settings, update, month)
    context.log.info(str(plan))
    if not update or plan.without_parent:
        return {"run_config": run_config(plan.spec)}
    repository = context.repository_def
    if repository is None:
        raise dg.DagsterInvariantViolationError(f"The schedule cannot see the job {INCREMENTAL!r}.")
    selection = repository.get_job(INCREMENTAL).asset_layer.selected_asset_keys
    return {"run_config": run_config(plan.spec, update), "asset_selection": sorted(selection)}


def _newest_unless_trained(context: dg.ScheduleEvaluationContext, settings: Settings) -> AsOfOrReason:
    changes, cursor = poll(settings, Cursor(), datetime.now(UTC), complete=True)
    status = training_status(settings, changes, cursor)
    if status.as_of is None:
        return dg.SkipReason("There are no rows.")
    if not changes.changed and status.trained is not None and succeeded(context.instance, status.trained.run_id):
        return dg.SkipReason(f"Nothing changed since run {status.trained.run_id[:8]} trained on all rows.")
    return status.as_of


def _month_just_closed(context: dg.ScheduleEvaluationContext, settings: Settings) -> AsOfOrReason:
    closed = just_closed(context.scheduled_execution_time, settings.timezone)
    if closed < settings.first_month:
        return dg.SkipReason(f"{closed} is before the first month, {settings.first_month}.")
    return closed


def _newest_loaded(_: dg.ScheduleEvaluationContext, settings: Settings) -> AsOfOrReason:
    return month_to_score(settings) or dg.SkipReason("No rows are loaded yet.")


def just_closed(instant: datetime, timezone: str) -> str:
    """The month before the month of `instant`, by the calendar of `timezone`.

    >>> just_closed(datetime.fromisoformat("2023-12-31T20:00:00+00:00"), "Australia/Sydney")
    '2023-12'
    """
    local = pd.Timestamp(instant).tz_convert(timezone)
    return AsOf(local.year, local.month).plus(-1).key
