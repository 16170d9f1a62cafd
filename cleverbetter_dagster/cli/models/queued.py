"""Runs in Dagster's queue, for whichever worker is free: submitted, watched until they end, cancelled by Ctrl-C."""

import threading
from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import RemoteJobOrigin
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from cleverbetter_dagster.defs.launches import Launch
from cleverbetter_dagster.errors import WorkersUnavailable
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.home import prepare_home

WAIT_SECONDS = 1.0
OF_THIS_MACHINE = ("HostRunLauncher", "DefaultRunLauncher")
"""Launchers of runs as processes here. A command then runs its job in its own process, and needs no daemon."""


def goes_through_queue(settings: Settings) -> bool:
    """Whether runs are executed elsewhere: on workers, or by another launcher that `dagster.yaml` names."""
    launcher = InstanceRef.from_dir(str(prepare_home(settings))).run_launcher_data
    named = launcher.class_name if launcher else ""
    return settings.workers_url is not None if named in OF_THIS_MACHINE else bool(named)


def submit(instance: dg.DagsterInstance, launch: Launch, tags: Mapping[str, str], origin: RemoteJobOrigin) -> None:
    """Put a launch into the queue.

    Args:
        tags: of the run, beside those of its job.
        origin: where Dagster's daemon finds the job.

    Raises:
        WorkersUnavailable: no daemon takes runs from the queue.
    """
    queue = QueuedRunCoordinatorDaemon.daemon_type()
    if not instance.get_daemon_statuses([queue])[queue].healthy:
        raise WorkersUnavailable(
            "Nothing takes runs from the queue: start `cleverbetter up` on one machine, with the same DATABASE_URL and "
            "CLEVERBETTER_WORKERS_URL."
        )
    assets = frozenset(dg.AssetKey(asset) for asset in launch.assets) or None
    repository = ReconstructableRepository.for_module(origin.location_name, "defs")
    job = ReconstructableJob(repository, launch.job, asset_selection=assets)
    definition = job.get_definition()
    run = instance.create_run_for_job(
        definition,
        run_config=launch.run_config,
        tags={**definition.run_tags, **tags},
        asset_selection=assets,
        remote_job_origin=origin,
        job_code_origin=job.get_python_origin(),
    )
    instance.submit_run(run.run_id, None)  # type: ignore[arg-type]  # Dagster's queue looks at no workspace


def wait(instance: dg.DagsterInstance, tags: Mapping[str, str], stop: threading.Event | None = None) -> dg.DagsterRun:
    """The newest run with these tags once it has ended for good: one whose worker was lost is launched again.

    Args:
        stop: cancels the run when it is set, as Ctrl-C does.

    Raises:
        KeyboardInterrupt: it was interrupted; the run is cancelled.
    """
    stop = stop or threading.Event()
    while True:
        run = _newest(instance, tags)
        if run.is_finished and not run.is_complete_and_waiting_to_retry:
            return run
        try:
            if stop.wait(WAIT_SECONDS):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            instance.run_coordinator.cancel_run(_newest(instance, tags).run_id)
            raise


def _newest(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> dg.DagsterRun:
    (run,) = instance.get_runs(filters=dg.RunsFilter(tags=dict(tags)), limit=1)
    return run
