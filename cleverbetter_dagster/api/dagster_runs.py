"""A training job is a Dagster run: this module submits it to the run queue, finds it by its tags and cancels it.

Nothing is kept here, so a restart of the API forgets nothing. Runs are read through `DagsterInstance`; they are
submitted and cancelled through Dagster's official GraphQL client, which asks the web UI's server: the run needs its
code location and the daemon anyway.
"""

import logging
import threading
import time
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import urlsplit

import dagster as dg
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

from cleverbetter_dagster.api.messages import JobStatus
from cleverbetter_dagster.defs.launches import ROLE_TAG, TRAINING, Launch, job_id, launches
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.services.ingest.loading import months_with_rows, this_month
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.unfinished_runs import FAMILY_TAG
from cleverbetter_dagster.store.workers.queue import JOB_ID_TAG

TIMEOUT_SECONDS = 60

Status = dg.DagsterRunStatus
STATUSES: dict[JobStatus, tuple[Status, ...]] = {
    "pending": (Status.NOT_STARTED, Status.MANAGED, Status.QUEUED, Status.STARTING),
    "running": (Status.STARTED, Status.CANCELING),
    "completed": (Status.SUCCESS,),
    "failed": (Status.FAILURE,),
    "cancelled": (Status.CANCELED,),
}
WORDS: dict[Status, JobStatus] = {status: word for word, statuses in STATUSES.items() for status in statuses}

log = logging.getLogger(__name__)


class DagsterDown(CleverBetterError):
    """Dagster's web server does not answer, or refuses."""


class TooManyJobs(CleverBetterError):
    """The maximum number of jobs is already waiting."""


class NoSuchJob(CleverBetterError):
    """No job has this id."""


class JobEnded(CleverBetterError):
    """The job has ended; there is nothing to cancel."""


class DagsterRuns:
    """The training jobs of one deployment."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected to yet."""
        self._settings = settings
        self._submitting = threading.Lock()

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """The instance of DAGSTER_HOME; its storage is the database."""
        return dg.DagsterInstance.get()

    def submit(self, request: TrainingRequest) -> str:
        """Put a request into the run queue; the id of its job.

        Raises:
            InvalidRequest: there are no rows as of that month, or it lies in the future.
            TooManyJobs: the queue is full.
            DagsterDown: Dagster's web server does not answer.
        """
        months = months_with_rows(self._settings)
        request.month(months, this_month())
        loaded = self.instance.get_materialized_partitions(dg.AssetKey("training_rows"))
        with self._submitting:
            self._check_queue()
            job = self._new_id(request.model_type)
            runs: list[str] = []
            try:
                for launch in launches(request, job, months, loaded, this_month()):
                    runs.append(self._launch(launch))
            except DagsterDown:
                for run in runs:
                    self._client.terminate_run(run)
                raise
        return job

    def find(self, job: str) -> dg.RunRecord:
        """The training run of a job, the newest where it was run again.

        Raises:
            NoSuchJob: there is none.
        """
        records = self._records({JOB_ID_TAG: job, ROLE_TAG: TRAINING}, 1) if "\0" not in job else []
        if not records:
            raise NoSuchJob(f"There is no training job {job!r}.")
        return records[0]

    def newest(self, limit: int, status: JobStatus | None = None, family: str | None = None) -> list[dg.RunRecord]:
        """The training runs of the newest jobs, newest first."""
        tags = {ROLE_TAG: TRAINING} | ({FAMILY_TAG: family} if family else {})
        return self._records(tags, limit, STATUSES[status] if status else None)

    def cancel(self, job: str) -> dg.RunRecord:
        """Cancel a job that has not ended, and the loading of its rows. Returns the run after the cancellation.

        Raises:
            NoSuchJob: there is none.
            JobEnded: it is completed, failed or cancelled already.
        """
        run = self.find(job).dagster_run
        if run.is_finished:
            raise JobEnded(f"{job} is {WORDS[run.status]} already.")
        active = [status for word in ("pending", "running") for status in STATUSES[word]]
        for record in self._records({JOB_ID_TAG: job}, 100, tuple(active)):
            try:
                self._client.terminate_run(record.dagster_run.run_id)
            except DagsterGraphQLClientError as error:
                raise _down(self._settings, error) from error
        return self.find(job)

    def _records(
        self, tags: dict[str, str], limit: int, statuses: tuple[Status, ...] | None = None
    ) -> list[dg.RunRecord]:
        filters = dg.RunsFilter(tags=tags, statuses=statuses)
        return list(self.instance.get_run_records(filters=filters, limit=limit))

    def _check_queue(self) -> None:
        waiting = self.instance.get_runs_count(dg.RunsFilter(tags={ROLE_TAG: TRAINING}, statuses=STATUSES["pending"]))
        if waiting >= self._settings.api_max_queued:
            raise TooManyJobs(
                f"{waiting} training jobs wait already, at most {self._settings.api_max_queued} may "
                "(CLEVERBETTER_API_MAX_QUEUED). Try again later, or cancel some."
            )

    def _new_id(self, family: str) -> str:
        now = time.time()
        while self._records({JOB_ID_TAG: job_id(family, now)}, 1):
            now += 0.001
        return job_id(family, now)

    @property
    def _client(self) -> DagsterGraphQLClient:
        place = urlsplit(self._settings.dagster_address)
        return DagsterGraphQLClient(
            place.hostname or "",
            place.port,
            use_https=place.scheme == "https",
            timeout=TIMEOUT_SECONDS,
            headers=self._settings.token_header,
        )

    def _launch(self, launch: Launch) -> str:
        try:
            return self._client.submit_job_execution(
                launch.job,
                run_config=dict(launch.run_config),
                tags=dict(launch.tags),
                asset_selection=list(launch.assets),
            )
        except DagsterGraphQLClientError as error:
            raise _down(self._settings, error) from error


def times(record: dg.RunRecord) -> tuple[datetime, datetime | None]:
    """When a run was submitted, and when it ended; UTC."""
    created = record.create_timestamp
    ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None
    return created if created.tzinfo else created.replace(tzinfo=UTC), ended


def _down(settings: Settings, error: DagsterGraphQLClientError) -> DagsterDown:
    log.warning("Dagster refused: %s", error)  # it may quote a whole query, so it is for the log
    return DagsterDown(
        f"Dagster did not take the run at {settings.dagster_address}. Start it with `cleverbetter up`, or set "
        "CLEVERBETTER_DAGSTER_URL to where its web UI is; the API's log has its answer."
    )
