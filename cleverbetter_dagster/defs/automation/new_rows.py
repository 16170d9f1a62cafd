"""The sensor `new_rows`: looks for new rows and requests a training at the newest month that has rows.

It requests the job `incremental`, or `retrain` if a family has no version to update or could not be updated.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from cleverbetter_dagster.defs.jobs import INCREMENTAL, RETRAIN, TRAINING_LANE, run_config
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.defs.runs import CAUSE, DATA_VERSION, active_runs, past_runs, succeeded
from cleverbetter_dagster.services.champion.training_plan import TrainingPlan, plan_training
from cleverbetter_dagster.services.ingest.change_detection import DetectedChanges
from cleverbetter_dagster.services.ingest.retrain_policy import (
    RetrainDecision,
    RetrainPolicy,
    RetrainSituation,
    decide_retraining,
)
from cleverbetter_dagster.services.ingest.sensor_state import Cursor, TrainingStatus, poll, training_status
from cleverbetter_dagster.settings import Settings

NEW_ROWS = {CAUSE: "new_rows"}


def new_rows_sensor(families: Sequence[str], settings: Settings, jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor `new_rows`, which requests two of the `jobs`."""

    @dg.sensor(
        jobs=[job for job in jobs if job.name in (INCREMENTAL, RETRAIN)],
        minimum_interval_seconds=settings.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Looks for rows and market features that are new, changed or deleted since they were last loaded. Updates "
            "the models when enough of them arrived (CLEVERBETTER_MIN_NEW_ROWS) or they have waited long enough "
            "(CLEVERBETTER_LONGEST_WAIT_MINUTES). One run loads every changed month. It uses the champion's dataset "
            "options, and trains in full if a family has no version with these options."
        ),
    )
    def new_rows(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
        settings, now = deployment.settings(), datetime.now(UTC)
        changes, cursor = poll(settings, Cursor.parse(context.cursor), now)
        decision, status = _decide(context.instance, settings, changes, cursor, now)
        if decision.request and not changes.complete:  # a request rests on the contents of all months
            changes, cursor = poll(settings, cursor, now, complete=True)
            decision, status = _decide(context.instance, settings, changes, cursor, now)
        reason = f"{changes} {decision.reason}"
        if not decision.request or status.as_of is None:
            return dg.SensorResult(skip_reason=reason, cursor=cursor.model_dump_json())
        plan = plan_training(settings, families, status.as_of)
        request = _request(status, decision, plan, families)
        context.log.info(f"{reason} {plan} Job: {request.job_name}.")
        return dg.SensorResult(run_requests=[request], cursor=cursor.model_dump_json())

    return new_rows


def _decide(
    instance: dg.DagsterInstance, settings: Settings, changes: DetectedChanges, cursor: Cursor, now: datetime
) -> tuple[RetrainDecision, TrainingStatus]:
    status = training_status(settings, changes, cursor)
    trained = status.trained is not None and succeeded(instance, status.trained.run_id)
    situation = RetrainSituation(
        pending=cursor.pending,
        untrained=status.loaded_as_of is not None and not trained,
        data_version=status.data_version,
        active=active_runs(instance, TRAINING_LANE),
        requested=past_runs(instance, NEW_ROWS),
    )
    policy = RetrainPolicy(settings.min_new_rows, timedelta(minutes=settings.longest_wait_minutes))
    return decide_retraining(situation, policy, now), status


def _request(
    status: TrainingStatus, decision: RetrainDecision, plan: TrainingPlan, families: Sequence[str]
) -> dg.RunRequest:
    full = decision.full or bool(plan.without_parent)
    return dg.RunRequest(
        run_key=f"{status.data_version}, attempt {decision.attempt}",  # one state of the tables never gives two runs
        job_name=RETRAIN if full else INCREMENTAL,
        partition_key=status.as_of,
        run_config=run_config(plan.spec, () if full else families),
        tags={**NEW_ROWS, DATA_VERSION: status.data_version},
    )
