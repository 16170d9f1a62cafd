"""Runs on workers: dagster-celery's launcher and its Celery tasks, with Redis between coordinator and workers.

Redis only carries a run to a worker that is free. Whether a run's process lives, PostgreSQL says (`run_leases`), so
Redis may be restarted. dagster-celery is imported inside functions: the extra `celery` brings it.
"""

import subprocess
import sys
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, unpack_value

from cleverbetter_dagster.errors import SettingsError, WorkersUnavailable
from cleverbetter_dagster.redaction import redacted
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.workers.leases import is_held

if TYPE_CHECKING:
    from celery import Celery

QUEUE = "dagster"
RUN_PROCESS = "cleverbetter_dagster.store.workers.run_process"
ANSWER_SECONDS = 1.0
"""So long workers are waited for when they are asked for their slots."""

LOST_SECONDS = 45.0
"""A run whose lease nobody holds for so long is lost. Longer than PostgreSQL needs to be restarted."""

LOST_RUN_RETRIES = 2
LOST_RUN_TAGS = {
    "dagster/max_retries": str(LOST_RUN_RETRIES),
    "dagster/retry_on_asset_or_op_failure": "false",
}
"""Dagster's daemon launches a run again whose worker was lost, from the step it was at; not one that failed."""

CONFIG = {
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,  # a run would wait at a busy worker while another one is free
    "broker_connection_retry_on_startup": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_transport_options": {"socket_connect_timeout": 5, "socket_timeout": 30, "socket_keepalive": True},
    "task_publish_retry_policy": {"max_retries": 5, "interval_start": 1, "interval_step": 2, "interval_max": 10},
    "worker_hijack_root_logger": False,
}


def celery_app(settings: Settings) -> "Celery":
    """The Celery application of coordinator and workers; connects to nothing.

    Raises:
        SettingsError: the extra `celery` is not installed.
    """
    return _launcher(settings).celery


def run_launcher(settings: Settings, inst_data: ConfigurableClassData | None) -> "RunLauncher[Any]":
    """The launcher of runs on workers."""
    return _launcher(settings, inst_data)


def slots_of_workers(settings: Settings) -> dict[str, int]:
    """How many runs each worker that answers can execute at once, by its name; none if Redis does not answer."""
    try:
        stats = celery_app(settings).control.inspect(timeout=ANSWER_SECONDS).stats() or {}
    except _connection_errors():
        return {}
    return {name: int(stat["pool"]["max-concurrency"]) for name, stat in sorted(stats.items())}


def require_broker(settings: Settings) -> None:
    """Ask Redis whether it is there.

    Raises:
        WorkersUnavailable: it does not answer, or refuses the password.
    """
    try:
        with celery_app(settings).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=ANSWER_SECONDS * 5)
    except _connection_errors() as error:
        reason = redacted(" ".join(str(error).split()))
        raise WorkersUnavailable(
            f"The Redis of CLEVERBETTER_WORKERS_URL does not answer: {reason}. Start it, or correct that setting; "
            "without it, runs are processes of this machine."
        ) from None


def worker_app(settings: Settings) -> "Celery":
    """The application of a worker. Each run is a process of its own, as with Dagster's other launchers."""
    from dagster_celery.tasks import create_execute_job_task

    app, log = celery_app(settings), settings.state_folder / "logs" / "runs.log"
    log.parent.mkdir(parents=True, exist_ok=True)

    def execute(execute_job_args_packed: Mapping[str, Any]) -> int:
        run_id = unpack_value(dict(execute_job_args_packed), as_type=ExecuteRunArgs).run_id
        with log.open("ab") as output:
            # In a session of its own: Ctrl-C, which ends the worker, lets it go on.
            return subprocess.run(
                [sys.executable, "-m", RUN_PROCESS, run_id],
                stdout=output,
                stderr=output,
                start_new_session=True,
                check=False,
            ).returncode

    create_execute_job_task(app).run = execute
    return app


def _launcher(settings: Settings, inst_data: ConfigurableClassData | None = None) -> Any:
    try:
        from dagster_celery.launcher import CeleryRunLauncher
    except ImportError as error:
        raise SettingsError(
            f"CLEVERBETTER_WORKERS_URL is set, but {error}: pip install 'cleverbetter-dagster[celery]'"
        ) from None

    class WorkerRunLauncher(CeleryRunLauncher):
        """dagster-celery's launcher; whether a run lives, its lease says, and not what Redis remembers."""

        def __init__(self) -> None:
            url = settings.workers_url.get_secret_value() if settings.workers_url else ""
            super().__init__(QUEUE, broker=url, backend=url, config_source=CONFIG, inst_data=inst_data)
            self._missed: dict[str, float] = {}

        def launch_run(self, context: LaunchRunContext) -> None:
            self._instance.add_run_tags(context.dagster_run.run_id, LOST_RUN_TAGS)
            super().launch_run(context)

        def terminate(self, run_id: str) -> bool:
            run = self._instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                return False
            self._instance.report_run_canceling(run)  # the run's process looks for it
            return True

        @property
        def supports_resume_run(self) -> bool:
            return False

        def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
            if is_held(load_settings(), run.run_id):
                self._missed.pop(run.run_id, None)
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            missed = monotonic() - self._missed.setdefault(run.run_id, monotonic())
            if missed < LOST_SECONDS:
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            return CheckRunHealthResult(WorkerStatus.FAILED, f"Its worker was lost {missed:.0f} s ago or more.")

        def get_run_worker_debug_info(self, *_: Any, **__: Any) -> None:
            """Nothing: Redis may have forgotten the run."""

    return WorkerRunLauncher()


def _connection_errors() -> tuple[type[Exception], ...]:
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    return OperationalError, RedisError, OSError
