"""What Dagster's own records show of runs: which are running, which failed, and whether waiting may cure that."""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterRunStatus as Status
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.execution.plan.objects import StepFailureData

from cleverbetter_dagster.defs.jobs import INCREMENTAL
from cleverbetter_dagster.services.ingest.retrain_policy import PastRun

CAUSE = "cleverbetter/cause"
"""Tag: why a run was requested, such as `new_rows`."""

DATA_VERSION = "cleverbetter/data_version"
"""Tag: the state of the tables and of the load log that a run was requested for."""

ACTIVE = [Status.QUEUED, Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING]
MAX_PAST_RUNS = 20


def active_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[PastRun]:
    """Runs with these tags that are running or queued."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=ACTIVE, tags=dict(tags)))
    return [PastRun(run.run_id, run.job_name, "active") for run in runs]


def past_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[PastRun]:
    """The latest runs with these tags that have ended, newest first."""
    filters = dg.RunsFilter(statuses=[Status.SUCCESS, Status.FAILURE, Status.CANCELED], tags=dict(tags))
    return [_past(instance, record) for record in instance.get_run_records(filters=filters, limit=MAX_PAST_RUNS)]


def succeeded(instance: dg.DagsterInstance, run_id: str) -> bool:
    """True if the run succeeded; a run whose record was deleted counts as successful."""
    run = instance.get_run_by_id(run_id)
    return run is None or run.status == Status.SUCCESS


def _past(instance: dg.DagsterInstance, record: dg.RunRecord) -> PastRun:
    run = record.dagster_run
    failed = run.status != Status.SUCCESS
    permanent = _permanent_failures(instance, run.run_id) if failed else []
    return PastRun(
        run.run_id,
        run.job_name,
        "failed" if failed else "succeeded",
        datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
        run.tags.get(DATA_VERSION),
        run.status == Status.CANCELED or bool(permanent),
        run.job_name == INCREMENTAL and any(step.endswith("_model") for step in permanent),
    )


def _permanent_failures(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Steps whose failure waiting cannot cure: a `dg.Failure` (see `failures`) or a blocking check."""
    events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)]
    return [event.step_key or "" for event in events if event and _is_permanent(event.step_failure_data)]


def _is_permanent(failure: StepFailureData) -> bool:
    checked = failure.error is not None and failure.error.cls_name == DagsterAssetCheckFailedError.__name__
    return failure.user_failure_data is not None or checked
