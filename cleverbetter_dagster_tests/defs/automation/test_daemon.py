"""The real daemon under our dagster.yaml: which runs overlap, and what happens to rows when it is killed."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

import dagster as dg
import psutil
import psycopg
import pytest

from cleverbetter_dagster.defs.jobs import PREDICT, RETRAIN
from cleverbetter_dagster.defs.runs import ACTIVE
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster_tests.defs.automation.quick_location import SINGLE, TUNING_SECONDS
from cleverbetter_dagster_tests.defs.automation.ticks import insert_rows
from cleverbetter_dagster_tests.services.ingest.test_change_detection_stress import (
    content_hashes,
    loaded_content,
    loads_so_far,
    table_content,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PATIENCE_SECONDS = 600.0
COMMAND = (
    sys.executable,
    "-m",
    "dagster._daemon",
    "run",
    "-m",
    "cleverbetter_dagster_tests.defs.automation.quick_location",
)
SUCCESS = dg.DagsterRunStatus.SUCCESS

Value = TypeVar("Value")


class Daemon:
    """`dagster-daemon run` over the home of the environment; can be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start()

    def start(self) -> None:
        with (self.settings.home / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(COMMAND, cwd=self.settings.home, stdout=log, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """The daemon alone, neither its code server nor the running runs."""
        self._process.kill()
        self._process.wait()

    @property
    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        """End every process that was started for this home."""
        for process in psutil.process_iter(["environ"]):
            home = (process.info["environ"] or {}).get("DAGSTER_HOME")
            if home == str(self.settings.home) and process.pid != os.getpid():
                process.kill()
        self._process.wait()


@pytest.fixture
def daemon(environment: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    for name, value in {
        "CLEVERBETTER_AUTOMATION": "1",
        "CLEVERBETTER_POLL_SECONDS": "1",
        "CLEVERBETTER_FIRST_MONTH": "2023-01",
        "PYTHONPATH": str(REPOSITORY),
        TUNING_SECONDS: "20",
    }.items():
        monkeypatch.setenv(name, value)
    prepare_home(environment)
    daemon = Daemon(environment)
    yield daemon
    daemon.end()


@pytest.fixture
def instance(daemon: Daemon) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(daemon.settings.home)) as instance:
        yield instance


def wait_for(daemon: Daemon, condition: Callable[[], Value]) -> Value:
    until = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < until, (daemon.settings.home / "daemon.log").read_text()[-4000:]
        time.sleep(0.05)
    return value


def all_ended(instance: dg.DagsterInstance, runs: int) -> bool:
    """Whether there are at least so many runs, and none is running."""
    return instance.get_runs_count() >= runs and not instance.get_runs(filters=dg.RunsFilter(statuses=ACTIVE), limit=1)


def spans(settings: Settings, kind: str) -> list[tuple[float, float]]:
    """When each piece of work of a kind began and ended, in order."""
    edges_by_name: dict[str, dict[str, float]] = defaultdict(dict)
    for line in (settings.home / "spans.txt").read_text().splitlines():
        seconds, edge, name = line.split(" ", 2)
        if name.startswith(kind):
            edges_by_name[name][edge] = float(seconds)
    return sorted((edges["begin"], edges["end"]) for edges in edges_by_name.values())


def test_trainings_never_overlap_and_predictions_do_not_wait(daemon: Daemon, instance: dg.DagsterInstance) -> None:
    # Two trainings in the lane, one outside it that only the pool holds back, and predictions, requested last.
    jobs = [RETRAIN, RETRAIN, SINGLE, PREDICT]
    (daemon.settings.home / "asked.json").write_text(json.dumps(jobs))
    wait_for(daemon, lambda: all_ended(instance, len(jobs)))
    assert {run.status for run in instance.get_runs()} == {SUCCESS}
    trained, ((_, predicted),) = spans(daemon.settings, "train"), spans(daemon.settings, "predict")
    assert len(trained) == 3
    assert all(before[1] <= after[0] for before, after in pairwise(trained))
    assert predicted < trained[1][0]  # while other trainings still waited


def test_a_daemon_killed_twice_loads_each_row_once(
    daemon: Daemon, instance: dg.DagsterInstance, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = daemon.settings
    daemon.kill()
    monkeypatch.setenv(TUNING_SECONDS, "0")
    (settings.home / "kill").touch()
    daemon.start()
    insert_rows(connection, "2023-05", 150)
    wait_for(daemon, lambda: daemon.is_dead)
    assert instance.get_runs_count() == 0  # it had found the rows, and nothing was requested yet
    insert_rows(connection, "2023-04", 20, "meanwhile")
    daemon.start()
    wait_for(daemon, lambda: instance.get_runs_count() == 1)
    daemon.kill()  # the run is requested, and about to be launched
    insert_rows(connection, "2023-06", 150, "later")
    daemon.start()
    wait_for(daemon, lambda: table_content(settings) == loaded_content(settings) and all_ended(instance, 1))
    time.sleep(10)  # some more ticks, with nothing to do
    runs = content_hashes(settings)
    rows, loads = len(table_content(settings)), loads_so_far(settings)
    print(f"\n{rows} rows; {instance.get_runs_count()} runs, {loads} loads")
    assert {run.status for run in instance.get_runs()} == {SUCCESS}
    assert instance.get_runs_count() == len(runs)
    assert len(set(runs)) == len(runs)
    assert table_content(settings) == loaded_content(settings)
