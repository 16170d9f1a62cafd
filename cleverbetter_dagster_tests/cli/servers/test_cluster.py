"""A coordinator and two workers with homes of their own, a real Redis, one database and one storage between them.

`pytest -n 0 -m slow cleverbetter_dagster_tests/cli/servers/test_cluster.py`; it needs `redis-server` and some minutes.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.workers.launcher import RUN_PROCESS
from cleverbetter_dagster.web.address import free_port
from cleverbetter_dagster_tests.cli.conftest import COMMAND, environment_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PATIENCE_SECONDS = 600
MONTHS = ("2023-06", "2023-07")


class Cluster:
    """Its machines, which here are homes; and what is started on them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.started = settings, folder, []
        port = free_port(46379)
        self.environment = {
            **environment_of(settings),
            "CLEVERBETTER_STORAGE_URL": str(folder / "shared"),
            "CLEVERBETTER_WORKERS_URL": f"redis://127.0.0.1:{port}/0",
            "CLEVERBETTER_THREADS": "1",
            "CLEVERBETTER_AUTOMATION": "off",
        }
        self.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)])

    def start(self, command: list[str], machine: str = "coordinator") -> psutil.Popen:
        with (self.folder / f"{machine}.log").open("ab") as log:
            environment = {**self.environment, "DAGSTER_HOME": str(self.folder / machine)}
            process = psutil.Popen(
                command, env=environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.started.append(process)
        return process

    def cleverbetter(self, machine: str, *arguments: str) -> psutil.Popen:
        return self.start([*COMMAND, *arguments], machine)

    def stop(self) -> None:
        self.cleverbetter("coordinator", "down").wait(PATIENCE_SECONDS)
        for process in self.started:
            kill(process)


def kill(process: psutil.Process) -> None:
    """As if its machine stopped: with everything that it started."""
    if process.is_running():
        for each in [process, *process.children(recursive=True)]:
            each.kill()


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def trains(worker: psutil.Process) -> bool:
    """Whether a step of a run is at work on it."""
    runs = [child for child in worker.children(recursive=True) if RUN_PROCESS in child.cmdline()]
    return any(len(run.children(recursive=True)) > 2 for run in runs)


@pytest.fixture
def cluster(database: Settings, tmp_path: Path) -> Iterator[Cluster]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server")
    files = [tmp_path / "results.parquet", tmp_path / "features.parquet"]
    for frame, file in zip(simulate_rows(SimulationSpec(n_strategies=60, seed=8)), files, strict=True):
        frame.to_parquet(file)
    import_files(database, *files)
    found = Cluster(database, tmp_path)
    try:
        yield found
    finally:
        found.stop()


def test_every_month_is_trained_once_though_a_worker_dies(cluster: Cluster) -> None:
    ports = ["--port", str(free_port(43000)), "--api-port", str(free_port(48000))]
    assert cluster.cleverbetter("coordinator", "up", "--detach", "--no-mlflow", *ports).wait(PATIENCE_SECONDS) == 0
    workers = [cluster.cleverbetter(name, "worker", "--name", name) for name in ("one", "other")]
    months = ["--from", MONTHS[0], "--to", MONTHS[1], "--family", "ensemble", "--json"]
    backfill = cluster.cleverbetter("desk", "backfill", *months)
    until(lambda: trains(workers[1]))
    kill(workers[1])
    output, _ = backfill.communicate(timeout=PATIENCE_SECONDS)
    assert backfill.returncode == 0, (cluster.folder / "desk.log").read_text()
    assert [(month["as_of"], month["outcome"]) for month in json.loads(output)] == [(m, "done") for m in MONTHS]
    shared = cluster.settings.model_copy(update={"storage_url": cluster.environment["CLEVERBETTER_STORAGE_URL"]})
    assert sorted(version.as_of for version in Registry(shared).list_versions("ensemble")) == list(MONTHS)
