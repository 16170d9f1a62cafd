"""The sensor `heartbeat`: tells every channel that all is well. If something is not, nothing is sent."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus as Status

from cleverbetter_dagster.defs.automation.failed_checks import latest_failures
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.evaluation.checks import Check
from cleverbetter_dagster.services.evaluation.checks import CHAMPION_CHECKS, PREDICTION_CHECKS
from cleverbetter_dagster.services.monitoring.checks import MONITORING_CHECKS
from cleverbetter_dagster.services.monitoring.heartbeat import (
    HeartbeatCursor,
    beat,
    due_channels,
    heartbeat_text,
    stakes_trouble,
)
from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.store.channels.channel import channels_of

INTERVAL_SECONDS = 60
MOST_RUNS = 500

JUDGED: Mapping[str, Sequence[Check[Any]]] = {
    "champion": CHAMPION_CHECKS,
    "strategy_predictions": PREDICTION_CHECKS,
    "champion_monitoring": MONITORING_CHECKS,
}
"""By asset, the checks that hold while all is well."""


def heartbeat_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor `heartbeat`, on if its setting is set."""
    variable = variable_of("heartbeat_hours")

    @dg.sensor(
        name="heartbeat",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.heartbeat_hours else dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Every {variable} hours tells each alert channel that all is well: there are stakes of the champion, its "
            "checks hold, and no job's last run failed. If something is not well, nothing is sent and the tick says "
            "what; so a heartbeat that does not come is an alert, also where this machine is down."
        ),
    )
    def heartbeat(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
        settings, cursor, now = deployment.settings(), HeartbeatCursor.parse(context.cursor), datetime.now(UTC)
        hours, channels = settings.heartbeat_hours, channels_of(settings)
        if hours is None or not channels:
            missing = variable if hours is None else f"{variable_of('alert_urls')} or {variable_of('alert_webhook')}"
            return dg.SensorResult(skip_reason=f"No heartbeat is sent: set {missing}.")
        due = due_channels(cursor, channels, hours, now)
        if not due:
            return dg.SensorResult(skip_reason=f"Every channel took a heartbeat in the last {hours} h.")
        ended, troubles = run_troubles(context.instance, now - timedelta(hours=hours))
        troubles += [f"the check {name} failed" for name in latest_failures(context.instance, JUDGED)]
        if no_stakes := stakes_trouble(settings):
            troubles.append(no_stakes)
        if troubles:
            return dg.SensorResult(skip_reason=f"Not all is well, so no heartbeat is sent: {'; '.join(troubles)}")
        following, undelivered = beat(cursor, due, heartbeat_text(settings, ended, hours), now)
        for line in undelivered:
            context.log.warning(line)
        told = ", ".join(channel.name for channel in due)
        return dg.SensorResult(skip_reason=f"All is well; told {told}.", cursor=following.model_dump_json())

    return heartbeat


def run_troubles(instance: dg.DagsterInstance, since: datetime) -> tuple[int, list[str]]:
    """How many runs ended since then, and a sentence for each job whose last one failed."""
    ended = dg.RunsFilter(statuses=[Status.SUCCESS, Status.FAILURE, Status.CANCELED], updated_after=since)
    records = instance.get_run_records(filters=ended, limit=MOST_RUNS)  # newest first
    last = {record.dagster_run.job_name: record.dagster_run for record in reversed(records)}
    failed = [run for run in last.values() if run.status == Status.FAILURE]
    return len(records), [f"run {run.run_id[:8]} of {run.job_name} failed" for run in failed]
