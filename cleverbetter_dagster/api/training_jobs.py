"""`/api/v1/models/train` and `/api/v1/models/training`: the guide's calls, the list of jobs, and cancelling one."""

from typing import Annotated, Any

import dagster as dg
from fastapi import APIRouter, Query, Response

from cleverbetter_dagster.api.dagster_runs import WORDS, DagsterRuns, times
from cleverbetter_dagster.api.messages import (
    CONFLICT,
    NOT_FOUND,
    READ_REFUSALS,
    TOO_MANY,
    WRITE_REFUSALS,
    FailedJob,
    Jobs,
    JobStatus,
    JobSummary,
    TrainingJob,
    TrainingJobCreated,
)
from cleverbetter_dagster.defs.failures import failure_of
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.services.training.registered_versions import recorded_by_run
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.unfinished_runs import FAMILY_TAG
from cleverbetter_dagster.store.workers.queue import JOB_ID_TAG

MOST_JOBS = 200


def training_jobs(settings: Settings, runs: DagsterRuns) -> APIRouter:
    """The routes of training jobs."""
    routes = APIRouter(prefix="/api/v1/models", tags=["training"])

    @routes.post("/train", status_code=202, responses=WRITE_REFUSALS | TOO_MANY)
    def start(request: TrainingRequest, response: Response) -> TrainingJobCreated:
        """Start a training job: a Dagster run of the family's branch, queued with everything else."""
        job = runs.submit(request)
        response.headers["Location"] = f"/api/v1/models/training/{job}"
        return TrainingJobCreated(job_id=job, status="pending", message="Training job started")

    @routes.get("/training", responses=READ_REFUSALS)
    def jobs(
        status: JobStatus | None = None,
        model_type: Annotated[str | None, Query(max_length=100, pattern=r"^[A-Za-z0-9_]+$")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_JOBS)] = 50,
    ) -> Jobs:
        """Training jobs, newest first."""
        return Jobs(jobs=[JobSummary(**_summary(record)) for record in runs.newest(limit, status, model_type)])

    @routes.get("/training/{job_id}", responses=READ_REFUSALS | NOT_FOUND)
    def job(job_id: str) -> FailedJob | TrainingJob:
        """How a training job stands; once completed, its metrics on the test rows and the version it registered."""
        return _job(settings, runs, runs.find(job_id))

    @routes.post("/training/{job_id}/cancel", responses=WRITE_REFUSALS | NOT_FOUND | CONFLICT)
    def cancel(job_id: str) -> FailedJob | TrainingJob:
        """Cancel a training job that has not ended."""
        return _job(settings, runs, runs.cancel(job_id))

    return routes


def _summary(record: dg.RunRecord) -> dict[str, Any]:
    run = record.dagster_run
    created, ended = times(record)
    return {
        "job_id": run.tags[JOB_ID_TAG],
        "status": WORDS[run.status],
        "model_type": run.tags[FAMILY_TAG],
        "created_at": created,
        "completed_at": ended,
    }


def _job(settings: Settings, runs: DagsterRuns, record: dg.RunRecord) -> FailedJob | TrainingJob:
    summary = _summary(record)
    run_id = record.dagster_run.run_id
    if summary["status"] == "failed":
        return FailedJob(**summary, metrics=None, model_version=None, error=failure_of(runs.instance, run_id))
    if summary["status"] != "completed":
        return TrainingJob(**summary, metrics=None, model_version=None)
    version = recorded_by_run(settings, summary["model_type"], run_id)
    if version is None:
        return TrainingJob(**summary, metrics=None, model_version=None)
    return TrainingJob(**summary, metrics=version.metrics, model_version=str(version.version))
