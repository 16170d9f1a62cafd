"""Running our Dagster jobs from the command line: their steps shown as they end, cancelled by Ctrl-C."""

import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from rich.console import Console

from cleverbetter_dagster.cli.models.queued import goes_through_queue, submit, wait
from cleverbetter_dagster.cli.output import VisibleConsole
from cleverbetter_dagster.cli.progress import run_progress
from cleverbetter_dagster.defs.failures import failure_of
from cleverbetter_dagster.defs.jobs import ONE_STEP
from cleverbetter_dagster.defs.launches import Launch, range_tags
from cleverbetter_dagster.defs.steps.executor import start_server
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.dagster_launcher import end_lost_runs, on_this_host
from cleverbetter_dagster.store.home import prepare_home

MODULE = "cleverbetter_dagster.definitions"
"""Module and name of our code location, under `cleverbetter up` as under `dagster dev`."""

LAUNCH_TAG = "cleverbetter/launch"

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailed(CleverBetterError):
    """A Dagster run ended in failure."""


def job_named(name: str) -> dg.JobDefinition:
    """One of our jobs. A step's process finds its job through this function."""
    from cleverbetter_dagster.definitions import defs

    return defs.resolve_job_def(name)


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of this deployment, the one the web UI shows."""
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    with dg.DagsterInstance.get() as instance:
        yield instance


def run_job(
    settings: Settings,
    launch: Launch,
    console: Console | None = None,
    *,
    quiet: bool = False,
    label: str | None = None,
    stop: threading.Event | None = None,
    training_follows: bool = False,
) -> str:
    """Run a launch and wait for it: in this process and its children, or on a worker if there are workers.

    Without assets it is the whole job.

    Args:
        settings: where everything is.
        launch: job, assets, months (both ends included), tags and configuration.
        console: where the steps are shown; standard error if not given.
        quiet: show none.
        label: stands before each step; given where several launches run on workers at once.
        stop: cancels a run on a worker when it is set.
        training_follows: let the server of steps import meanwhile, for the training that this process runs next.

    Returns:
        The id of the Dagster run; it is in the UI like any other.

    Raises:
        RunFailed: a step failed; the message is the step's own.
        KeyboardInterrupt: it was interrupted; the run is cancelled, its processes have ended.
    """
    mark = uuid.uuid4().hex
    months = range_tags(*launch.months) if launch.months else {}
    tags = {**months, **launch.tags, LAUNCH_TAG: mark}
    if goes_through_queue(settings):
        console = console or VisibleConsole(stderr=True, quiet=quiet)
        with dagster_instance(settings) as instance:
            submit(instance, launch, tags, _origin(launch.job))
            with run_progress(instance, {LAUNCH_TAG: mark}, console, label):
                run = wait(instance, {LAUNCH_TAG: mark}, stop)
            _require_success(instance, run.run_id, launch.job, succeeded=run.is_success)
        return run.run_id
    tags |= on_this_host()
    log = settings.state_folder / "logs" / "runs.log"
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))  # the server of steps keeps the environment it finds
    with _errors_to(log) as errors:
        if training_follows or launch.job not in ONE_STEP:
            start_server()  # it imports while Dagster's instance opens
        with dagster_instance(settings) as instance:
            _carry_origin(instance, launch.job)
            console = console or VisibleConsole(file=errors, quiet=quiet)
            for lost in end_lost_runs(instance):
                console.print(f"The run {lost} had lost its process, and was ended.", style="yellow", soft_wrap=True)
            with _cancelling(instance, mark), run_progress(instance, {LAUNCH_TAG: mark}, console):
                result = dg.execute_job(
                    dg.build_reconstructable_job(__name__, job_named.__name__, (launch.job,)),
                    instance=instance,
                    tags=tags,
                    run_config={**QUIET, **launch.run_config},
                    asset_selection=[dg.AssetKey(asset) for asset in launch.assets] or None,
                    raise_on_error=False,
                )
            _require_success(instance, result.run_id, launch.job, succeeded=result.success)
    return result.run_id


def made_anything(settings: Settings, run_id: str) -> bool:
    """Whether a run that ended materialised any asset."""
    with dagster_instance(settings) as instance:
        made = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, limit=1)
        return bool(made.records)


def _require_success(instance: dg.DagsterInstance, run_id: str, job: str, *, succeeded: bool) -> None:
    if not succeeded:
        raise RunFailed(f"The run {run_id} of {job} failed.\n{failure_of(instance, run_id)}")


def _origin(job: str) -> RemoteJobOrigin:
    """Where the web server and the daemon find a job."""
    target = LoadableTargetOrigin(module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=MODULE)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job)


def _carry_origin(instance: dg.DagsterInstance, job: str) -> None:
    """Let the runs of this instance carry where their job is, as those that the UI launches do.

    The UI's overview and a job's page show only runs that carry it, and `execute_job` has no argument for it.
    """
    create = partial(instance.create_run_for_job, remote_job_origin=_origin(job))
    instance.create_run_for_job = create  # type: ignore[method-assign]


@contextmanager
def _errors_to(log: Path) -> Iterator[TextIO]:
    """Send what this process and the steps' processes write to standard error to a file, below Python's own streams.

    What is written to the stream that is given still goes where standard error went.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w") as kept:
        try:
            with log.open("ab") as file:
                os.dup2(file.fileno(), 2)
            yield kept
        finally:
            sys.stderr.flush()
            os.dup2(kept.fileno(), 2)


@contextmanager
def _cancelling(instance: dg.DagsterInstance, mark: str) -> Iterator[None]:
    """An interruption of this process cancels its run, as the UI's button would.

    Dagster takes the signal and ends the steps, but unless a cancellation was recorded it calls the run failed and
    alerts. So we record one when the signal arrives. A wakeup descriptor reports the signal; Dagster's handler stays.
    """
    interrupted = threading.Event()
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)

    def watch() -> None:
        while received := ours.recv(1):
            if received[0] in (signal.SIGINT, signal.SIGTERM) and not interrupted.is_set():
                interrupted.set()
                for run in _unfinished(instance, mark):
                    instance.report_run_canceling(run)

    watcher = threading.Thread(target=watch, name="interruption", daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        pythons.close()
        watcher.join()
        ours.close()
        if interrupted.is_set():
            for run in _unfinished(instance, mark):  # it came before the run began, or between two steps
                instance.report_run_canceled(run)
            # Only the daemon would give its places in pools back, and the next run might wait for one without end.
            for run in instance.get_runs(filters=dg.RunsFilter(tags={LAUNCH_TAG: mark})):
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    if interrupted.is_set():
        raise KeyboardInterrupt


def _unfinished(instance: dg.DagsterInstance, mark: str) -> list[dg.DagsterRun]:
    runs = instance.get_runs(filters=dg.RunsFilter(tags={LAUNCH_TAG: mark}))
    return [run for run in runs if not run.is_finished]
