"""The sensor `alerts`: reports events in its log, as observations of the asset concerned, and to the channels.

It reads what was recorded, and no run waits for it, so a failing channel fails no run.
"""

import dagster as dg

from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.evaluation.checks import CHAMPION_CHECKS, MODEL_CHECKS, PREDICTION_CHECKS
from cleverbetter_dagster.services.monitoring.alerts import (
    Alert,
    AlertCursor,
    decision_alerts,
    last_decision,
    shortened,
)
from cleverbetter_dagster.services.monitoring.checks import MONITORING_CHECKS
from cleverbetter_dagster.services.monitoring.delivery import deliver
from cleverbetter_dagster.store.channels.channel import channels_of

INTERVAL_SECONDS = 30
MOST_EVENTS = 500

REPORTED = {check.name for check in (*MODEL_CHECKS, *MONITORING_CHECKS, *CHAMPION_CHECKS, *PREDICTION_CHECKS)}
"""Checks that block no run but are reported all the same: about the champion, its predictions, and models that are too
good to be true."""


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Reports promotions, refusals and rollbacks, failed checks that block a run, a champion that is stale or got "
        "worse, and stale predictions: in its log, as an observation of the asset, and to CLEVERBETTER_ALERT_WEBHOOK "
        "and CLEVERBETTER_ALERT_URLS if they are set."
    ),
)
def alerts(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
    settings, cursor = deployment.settings(), AlertCursor.parse(context.cursor)
    if cursor is None:
        first = AlertCursor(decision_id=last_decision(settings), event_id=_last_event(context.instance))
        return dg.SensorResult(skip_reason="Alerts start from now.", cursor=first.model_dump_json())
    # Both are read before any alert is made, so that later events are left to the next tick.
    decision_id = last_decision(settings)
    failed, event_id = _failed_checks(context.instance, cursor.event_id)
    new = [*decision_alerts(settings, cursor.decision_id), *failed]
    for alert in new:
        context.log.warning(alert.text)
    waiting, troubles = deliver(channels_of(settings), cursor.waiting, new)
    for trouble in troubles:
        context.log.warning(trouble)
    following = AlertCursor(decision_id=max(decision_id, cursor.decision_id), event_id=event_id, waiting=waiting)
    return dg.SensorResult(
        asset_events=[_observation(alert) for alert in new],
        skip_reason=f"New alerts: {len(new)}. Alerts that wait for a channel: {sum(map(len, waiting.values()))}.",
        cursor=following.model_dump_json(),
    )


def _failed_checks(instance: dg.DagsterInstance, after: int) -> tuple[list[Alert], int]:
    """An alert for each failed check that blocks or is in `REPORTED`, and the id of the last event read."""
    wanted = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=after)
    records = instance.get_event_records(wanted, limit=MOST_EVENTS, ascending=True)
    failed = []
    for record in records:
        event = record.event_log_entry.dagster_event
        check = event.asset_check_evaluation_data if event else None
        if check and not check.passed and (check.blocking or check.check_name in REPORTED):
            failed.append(_alert(check))
    return failed, max((record.storage_id for record in records), default=after)


def _alert(check: dg.AssetCheckEvaluation) -> Alert:
    asset = check.asset_key.to_user_string()
    text = shortened(f"Check {check.check_name} of {asset} failed. {check.description or ''}".strip())
    return Alert(kind="check_failed", asset=asset, text=text)


def _last_event(instance: dg.DagsterInstance) -> int:
    wanted = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    newest = instance.get_event_records(wanted, limit=1, ascending=False)
    return newest[0].storage_id if newest else 0


def _observation(alert: Alert) -> dg.AssetObservation:
    facts = {"alert": alert.kind, "text": alert.text}
    return dg.AssetObservation(alert.asset, description=alert.text, metadata=facts, partition=alert.as_of)
