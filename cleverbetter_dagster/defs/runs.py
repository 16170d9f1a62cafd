"""What Dagster's own records say of runs: which are at work, which failed, and whether waiting may cure that."""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterRunStatus as Status
from dagster._core.errors import DagsterAssetCheckFailedError

from cleverbetter_dagster.services.retraining import PastRun

CAUSE = "cleverbetter/cause"
"""Tag: why a run was requested, such as `new_rows`."""

LANDING = "cleverbetter/landing"
"""Tag: the state of the tables a run was requested for."""

ACTIVE = [Status.QUEUED, Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING]
REMEMBERED = 20


def active_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[PastRun]:
    """Runs with these tags that are at work or queued to be."""
    found = instance.get_runs(filters=dg.RunsFilter(statuses=ACTIVE, tags=dict(tags)))
    return [PastRun(run.run_id, run.job_name, "active") for run in found]


def past_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[PastRun]:
    """The latest runs with these tags that have ended, newest first."""
    filters = dg.RunsFilter(statuses=[Status.SUCCESS, Status.FAILURE, Status.CANCELED], tags=dict(tags))
    return [_past(instance, record) for record in instance.get_run_records(filters=filters, limit=REMEMBERED)]


def succeeded(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run ended well; one whose record was deleted is taken to have."""
    run = instance.get_run_by_id(run_id)
    return run is None or run.status == Status.SUCCESS


def _past(instance: dg.DagsterInstance, record: dg.RunRecord) -> PastRun:
    run = record.dagster_run
    failed = run.status != Status.SUCCESS
    return PastRun(
        run.run_id,
        run.job_name,
        "failed" if failed else "succeeded",
        datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
        run.tags.get(LANDING),
        failed and (run.status == Status.CANCELED or _needs_change(instance, run.run_id)),
    )


def _needs_change(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a step gave up where waiting cures nothing: by `dg.Failure` (see `failures`) or by a blocking check."""
    failures = [
        entry.dagster_event.step_failure_data
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        if entry.dagster_event is not None
    ]
    return any(
        failure.user_failure_data is not None
        or (failure.error is not None and failure.error.cls_name == DagsterAssetCheckFailedError.__name__)
        for failure in failures
    )
