"""Runs whose process has gone are noticed: after a power cut, or `kill -9` of whatever watched over them.

Dagster's own launcher leaves the processes of runs to the code server. When both go at once the run stays "started"
for ever, holds its place in a pool and keeps other trainings waiting; so does a run of a command that was killed.
"""

import socket
from collections.abc import Mapping
from typing import Any

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClassData

from cleverbetter_dagster.settings import load_settings

HOST = "cleverbetter/host"
"""Tag: the name of the machine a run's process is on."""

UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
CLOCK_TOLERANCE_SECONDS = 1.0


def on_this_host() -> dict[str, str]:
    """The tag of runs whose process is on this machine."""
    return {HOST: socket.gethostname()}


class HostRunLauncher(DefaultRunLauncher):
    """Dagster's launcher of runs as processes of the code server, which also knows whether such a process lives.

    With `CLEVERBETTER_WORKERS_URL`, Dagster gets the launcher of runs on workers in its place.
    """

    @classmethod
    def from_config_value(  # type: ignore[override]  # of either kind
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> RunLauncher[Any]:
        settings = load_settings()
        if settings.workers_url is None:
            return cls(inst_data=inst_data, **config_value)
        from cleverbetter_dagster.store.workers.launcher import run_launcher

        return run_launcher(settings, inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, marked with this machine's name."""
        self._instance.add_run_tags(context.dagster_run.run_id, on_this_host())
        super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether Dagster's monitoring may ask: it may."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives; what is not known counts as alive."""
        gone = lost_process(self._instance, run)
        if gone is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, _message(gone))


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """End the unfinished runs of this machine whose process has gone, and free their places in pools.

    Dagster's daemon does so every 30 s. Commands do it themselves, as they may run without a daemon.

    Returns:
        The ids of these runs.
    """
    lost = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED, tags=on_this_host())):
        gone = lost_process(instance, run)
        if gone is None:
            continue
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, _message(gone))
        else:
            instance.report_run_failed(run, _message(gone))
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        lost.append(run.run_id)
    return lost


def lost_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """The id of an unfinished run's process if it was on this machine and has gone; None if it lives or is not known.

    A process that began after the run did is another one with the same id.
    """
    if run.tags.get(HOST) != socket.gethostname():
        return None
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        noted = event.engine_event_data.metadata.get("pid") if event and event.step_key is None else None
        if noted is not None:
            pid = int(str(noted.value))
            return None if _lives(pid, entry.timestamp) else pid
    return None


def _lives(pid: int, since: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() <= since + CLOCK_TOLERANCE_SECONDS and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _message(pid: int) -> str:
    return f"The run's process {pid} on {socket.gethostname()} has gone: it was killed, or the machine was restarted."
