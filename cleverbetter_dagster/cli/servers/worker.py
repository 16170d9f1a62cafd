"""`cleverbetter worker`: executes runs of the queue on this machine. What every machine of a cluster must share."""

import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from cleverbetter_dagster.cli.output import VisibleConsole
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings, load_settings, set_in_environment, variable_of

if TYPE_CHECKING:
    import dagster as dg

MOST_SLOTS = 64
UNLIMITED = 1000
"""Limit of a family's pool where nobody set one: the slots of the workers are the limit then."""


def worker(
    slots: Annotated[int, typer.Option(help="Runs at once on this machine.", min=1, max=MOST_SLOTS)] = 1,
    name: Annotated[str | None, typer.Option(help="Name of this worker; several on a machine need one each.")] = None,
) -> None:
    """Execute runs of the queue on this machine, one in each slot. Ctrl-C waits for them; they outlive a second one.

    Needs the DATABASE_URL, CLEVERBETTER_STORAGE_URL and CLEVERBETTER_WORKERS_URL of the machine where `up` runs.
    """
    from cleverbetter_dagster.store.home import prepare_home
    from cleverbetter_dagster.store.workers.launcher import QUEUE, worker_app

    settings = load_settings()
    require_cluster(settings)
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    if not set_in_environment("threads") and "threads" not in settings.model_fields_set:
        # Runs beside each other on all cores would wait for each other.
        os.environ[variable_of("threads")] = str(max(1, settings.threads // slots))
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        allow_side_by_side(instance)
    host = name or socket.gethostname()
    VisibleConsole(stderr=True).print(f"{host} executes {slots} runs at once. Ctrl-C stops it.", highlight=False)
    options = ["--pool", "threads", "--concurrency", str(slots), "--hostname", f"cleverbetter@{host}"]
    more = ["--queues", QUEUE, "--disable-prefetch", "--without-gossip", "--without-mingle", "--loglevel", "ERROR"]
    worker_app(settings).worker_main(["--quiet", "worker", *options, *more])


def require_cluster(settings: Settings) -> None:
    """Check that coordinator and workers share what they must, and that it answers.

    Raises:
        SettingsError: one of the three settings is missing.
        ArtefactsUnavailable, WorkersUnavailable: storage or Redis does not answer, or refuses.
    """
    from cleverbetter_dagster.store.tracking.places import shared_storage
    from cleverbetter_dagster.store.workers.launcher import require_broker

    needed = ("workers_url", "database_url", "storage_url")
    missing = [variable_of(field) for field in needed if not getattr(settings, field)]
    if missing:
        raise SettingsError(
            f"Runs on workers need {' and '.join(missing)}: one Redis, one database and one storage for all machines. "
            "docs/cluster.md says how."
        )
    require_broker(settings)
    if storage := shared_storage(settings):
        storage.require_usable()


def allow_side_by_side(instance: "dg.DagsterInstance") -> None:
    """Let several runs train a family at once, where nobody limited its pool in Dagster's UI."""
    from cleverbetter_dagster.learning.catalogue import FAMILIES

    limited = {pool.name for pool in instance.event_log_storage.get_pool_limits() if not pool.from_default}
    for pool in (f"{family}_training" for family in FAMILIES):
        if pool not in limited:
            instance.event_log_storage.set_concurrency_slots(pool, UNLIMITED)
