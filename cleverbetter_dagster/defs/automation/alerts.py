"""The sensor that tells people: in its log, as observations of the asset concerned, and to the webhook if there is one.

It looks at what was recorded, and no run waits for it: a webhook that fails can make no run fail.
"""

import dagster as dg

from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.evaluation.checks import CHAMPION_CHECKS, MODEL_CHECKS, PREDICTION_CHECKS
from cleverbetter_dagster.services.monitoring.alerts import (
    Alert,
    AlertCursor,
    decision_alerts,
    deliver,
    last_decision,
    shortened,
)
from cleverbetter_dagster.services.monitoring.checks import MONITORING_CHECKS

INTERVAL_SECONDS = 30
MOST_EVENTS = 500

TOLD = {check.name for check in (*MODEL_CHECKS, *MONITORING_CHECKS, *CHAMPION_CHECKS, *PREDICTION_CHECKS)}
"""Checks that block no run and are told all the same: a model too good to be true, a champion that is stale, has
drifted, is not calibrated or not as good as when it was promoted, and predictions that are not fresh."""


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells of promotions, refusals and rollbacks, of failed checks that block, of a champion that is stale or no "
        "longer what it was, and of stale predictions: in its log, as an observation of the asset, and to "
        "CLEVERBETTER_ALERT_WEBHOOK if that is set."
    ),
)
def alerts(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
    settings, seen = deployment.settings(), AlertCursor.parse(context.cursor)
    if seen is None:
        begun = AlertCursor(decision_id=last_decision(settings), event_id=_last_event(context.instance))
        return dg.SensorResult(skip_reason="Watching from now on.", cursor=begun.model_dump_json())
    # Both places are read before anything is made of it, so that what comes meanwhile is the next look's.
    decision_id = last_decision(settings)
    failed, event_id = _failed_checks(context.instance, seen.event_id)
    news = [*decision_alerts(settings, seen.decision_id), *failed]
    for alert in news:
        context.log.warning(alert.text)
    waiting = deliver(settings, [*seen.waiting, *news])
    found = AlertCursor(decision_id=max(decision_id, seen.decision_id), event_id=event_id, waiting=waiting)
    return dg.SensorResult(
        asset_events=[_observation(alert) for alert in news],
        skip_reason=f"{len(news)} alerts, {len(waiting)} of which and of earlier ones the webhook has not taken.",
        cursor=found.model_dump_json(),
    )


def _failed_checks(instance: dg.DagsterInstance, after: int) -> tuple[list[Alert], int]:
    """Failed checks that block or are told all the same, and the last event seen."""
    wanted = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=after)
    records = instance.get_event_records(wanted, limit=MOST_EVENTS, ascending=True)
    found = []
    for record in records:
        event = record.event_log_entry.dagster_event
        check = event.asset_check_evaluation_data if event else None
        if check and not check.passed and (check.blocking or check.check_name in TOLD):
            found.append(_alert(check))
    return found, max((record.storage_id for record in records), default=after)


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
