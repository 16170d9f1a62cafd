"""The sensor `retrain_on_failed_check`: requests one full training for each failed check on the champion."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from cleverbetter_dagster.defs.jobs import RETRAIN, run_config
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.defs.runs import CAUSE
from cleverbetter_dagster.evaluation.checks import Check
from cleverbetter_dagster.services.champion.training_plan import plan_training
from cleverbetter_dagster.services.ingest.change_detection import newest_with_rows
from cleverbetter_dagster.services.monitoring.checks import MONITORING_CHECKS
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.source.load_log import read_load_log
from cleverbetter_dagster.store.unfinished_runs import MONTH_TAGS

MONITORED = "champion_monitoring"
WATCHED = tuple(check.name for check in MONITORING_CHECKS)
"""Checks of the asset `champion_monitoring` whose failure requests a new model."""

POLL_SECONDS = 60
MAX_CAUSES = 100

EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
"""The latest record of all may be of a run that has not evaluated the check yet."""


def failed_checks_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor `retrain_on_failed_check`."""

    @dg.sensor(
        job_name=RETRAIN,
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Requests a full training with tuning at the newest month if the champion's score drifted, its "
            "probabilities are no longer calibrated, or it does worse than when it was promoted. Requests one "
            "training for each check, month and champion."
        ),
    )
    def retrain_on_failed_check(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
        settings, failed = deployment.settings(), failed_checks(context.instance)
        champion, as_of = ledger.champion(settings), newest_with_rows(read_load_log(settings))
        if not failed or champion is None or as_of is None:
            name, watched = champion or "No champion", ", ".join(WATCHED)
            return dg.SensorResult(skip_reason=f"{name}: none of these checks failed: {watched}.")
        causes = [f"{check} {month} {champion}" for check, month in failed.items()]
        handled: list[str] = json.loads(context.cursor or "[]")
        new = [cause for cause in causes if cause not in handled]
        if not new:
            return dg.SensorResult(skip_reason=f"A training was already requested for: {'; '.join(causes)}.")
        # Checks that fail together need one training.
        config = run_config(plan_training(settings, [], as_of).spec)
        cause = "; ".join(new)
        request = dg.RunRequest(run_key=cause, partition_key=as_of, run_config=config, tags={CAUSE: cause})
        return dg.SensorResult(run_requests=[request], cursor=json.dumps([*handled, *new][-MAX_CAUSES:]))

    return retrain_on_failed_check


def failed_checks(instance: dg.DagsterInstance) -> dict[str, str]:
    """The watched checks whose latest evaluation failed, each with the month it evaluated."""
    return latest_failures(instance, {MONITORED: MONITORING_CHECKS})


def latest_failures(instance: dg.DagsterInstance, checks: Mapping[str, Sequence[Check[Any]]]) -> dict[str, str]:
    """Of checks by asset those whose latest evaluation failed, each with the month it evaluated."""
    failed = {}
    for asset, name in ((asset, check.name) for asset, several in checks.items() for check in several):
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        for record in instance.event_log_storage.get_asset_check_execution_history(key, 1, status=EVALUATED):
            if record.status == AssetCheckExecutionRecordStatus.FAILED:
                run = instance.get_run_by_id(record.run_id)
                tags = run.tags if run else {}
                months = [tags[tag] for tag in reversed(MONTH_TAGS) if tag in tags]  # the last of a range first
                failed[name] = record.partition or (months[0] if months else record.run_id)
    return failed
