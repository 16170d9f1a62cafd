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
from cleverbetter_dagster.services.ingest.change_detection import newest_with_rows
from cleverbetter_dagster.services.ingest.sensor_state import Memory, observe, standing
from cleverbetter_dagster.services.ingest.training_plan import plan_training
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.source.load_log import read_taken

AsOfOrReason = str | dg.SkipReason
"""The month to run at, or why there is nothing to do."""


@dataclass(frozen=True)
class _Calendar:
    """A schedule: when, which job, how it finds its month, and how it trains then, if it does."""

    name: str
    job: str
    cron: str
    variable: str
    description: str
    month: Callable[[dg.ScheduleEvaluationContext, Settings], AsOfOrReason]
    training: Literal["update", "full"] | None = None


def schedules(families: Sequence[str], settings: Settings) -> list[dg.ScheduleDefinition]:
    """The three schedules, in the time zone of the settings; they run by themselves where automation is on.

    Raises:
        SettingsError: a cron expression cannot be read; the message names its variable.
    """
    calendars = [
        _Calendar(
            "weekly_update",
            RETRAIN,  # less what an update leaves out: a schedule is of one job
            settings.weekly_update_cron,
            "CLEVERBETTER_WEEKLY_UPDATE_CRON",
            "Updates the models with all that changed, few rows as it may be, without tuning; trains in full where a "
            "family has no version to go on from. Nothing runs where nothing changed.",
            _newest_unless_trained,
            "update",
        ),
        _Calendar(
            "monthly_training",
            RETRAIN,
            settings.monthly_training_cron,
            "CLEVERBETTER_MONTHLY_TRAINING_CRON",
            "Tunes and trains every family from scratch as of the month just closed.",
            _month_just_closed,
            "full",
        ),
        _Calendar(
            "daily_predictions",
            PREDICT,
            settings.daily_predictions_cron,
            "CLEVERBETTER_DAILY_PREDICTIONS_CRON",
            "Scores every live strategy with the champion, as of the newest month that is loaded.",
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
        trained = _training(context, current, month, update) if calendar.training else {}
        run_key = context.scheduled_execution_time.isoformat()
        return dg.RunRequest(run_key=run_key, partition_key=month, tags={CAUSE: calendar.name}, **trained)

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
            f"{calendar.variable} is {calendar.cron!r}, which is no cron expression; write five fields, such as "
            "'0 5 * * 1' for Mondays at five."
        ) from error


def _training(
    context: dg.ScheduleEvaluationContext, settings: Settings, month: str, update: Sequence[str]
) -> dict[str, Any]:
    """Configuration and, for an update, selection of a training as of `month`."""
    plan = plan_training(settings, update, month)
    context.log.info(str(plan))
    if not update:
        return {"run_config": run_config(plan.spec)}
    if plan.without_parent:
        lacking = ", ".join(plan.without_parent)
        context.log.info(f"A full training: {lacking} has no version of such a split to go on from.")
        return {"run_config": run_config(plan.spec)}
    repository = context.repository_def
    if repository is None:
        raise dg.DagsterInvariantViolationError("A schedule that updates models has to be told of the job of updates.")
    selection = repository.get_job(INCREMENTAL).asset_layer.selected_asset_keys
    return {"run_config": run_config(plan.spec, update), "asset_selection": sorted(selection)}


def _newest_unless_trained(context: dg.ScheduleEvaluationContext, settings: Settings) -> AsOfOrReason:
    found, memory = observe(settings, Memory(), datetime.now(UTC), complete=True)
    where = standing(settings, found, memory)
    if where.as_of is None:
        return dg.SkipReason("There are no rows.")
    if not found.changed and where.taking is not None and succeeded(context.instance, where.taking.run_id):
        return dg.SkipReason(f"Nothing changed since {where.taking.run_id[:8]} trained on all rows there are.")
    return where.as_of


def _month_just_closed(context: dg.ScheduleEvaluationContext, settings: Settings) -> AsOfOrReason:
    closed = just_closed(context.scheduled_execution_time, settings.timezone)
    if closed < settings.first_month:
        return dg.SkipReason(f"{closed} is before the first month, {settings.first_month}.")
    return closed


def _newest_loaded(_: dg.ScheduleEvaluationContext, settings: Settings) -> AsOfOrReason:
    return newest_with_rows(read_taken(settings)) or dg.SkipReason("No rows are loaded yet.")


def just_closed(moment: datetime, timezone: str) -> str:
    """The month before the one in which `moment` falls, by the calendar of `timezone`.

    >>> just_closed(datetime.fromisoformat("2023-12-31T20:00:00+00:00"), "Australia/Sydney")
    '2023-12'
    """
    local = pd.Timestamp(moment).tz_convert(timezone)
    return AsOf(local.year, local.month).previous().key
