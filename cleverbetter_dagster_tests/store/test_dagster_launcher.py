"""Runs whose process has gone: after a power cut, or `kill -9`."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.dagster_launcher import HOST, HostRunLauncher, end_lost_runs, on_this_host
from cleverbetter_dagster.store.home import prepare_home

STARTED, CANCELING = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING


@dg.op(pool="lost")
def work() -> None: ...


@dg.job
def working() -> None:
    work()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def run_of(
    instance: dg.DagsterInstance, pid: int, status: dg.DagsterRunStatus = STARTED, host: str | None = None
) -> dg.DagsterRun:
    """An unfinished run that a process of this id began a moment ago."""
    tags = {HOST: host} if host else on_this_host()
    run = instance.create_run_for_job(working, tags=tags, status=status)
    instance.report_engine_event("begun", run, EngineEventData.in_process(pid))
    return run


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_lost_runs_end_and_free_their_pool(instance: dg.DagsterInstance) -> None:
    lost = run_of(instance, dead_pid())
    stopping = run_of(instance, dead_pid(), CANCELING)
    storage = instance.event_log_storage
    storage.set_concurrency_slots("lost", 1)
    assert storage.claim_concurrency_slot("lost", lost.run_id, "work").is_claimed
    assert set(end_lost_runs(instance)) == {lost.run_id, stopping.run_id}
    assert status_of(instance, lost) == dg.DagsterRunStatus.FAILURE
    assert status_of(instance, stopping) == dg.DagsterRunStatus.CANCELED
    assert storage.get_concurrency_info("lost").claimed_slots == []
    assert end_lost_runs(instance) == []


def test_living_and_unknown_processes_are_left_alone(instance: dg.DagsterInstance) -> None:
    runs = [
        run_of(instance, os.getpid()),
        run_of(instance, dead_pid(), host="elsewhere"),
        instance.create_run_for_job(working, tags=on_this_host(), status=STARTED),  # has not said its process yet
    ]
    assert end_lost_runs(instance) == []
    assert {status_of(instance, run) for run in runs} == {STARTED}


def test_a_later_process_of_the_same_id_is_another(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(instance, os.getpid())
    monkeypatch.setattr("psutil.Process.create_time", lambda process: time.time() + 10.0)
    assert end_lost_runs(instance) == [run.run_id]


def test_the_launcher_of_a_home_says_whether_a_process_lives(environment: Settings) -> None:
    prepare_home(environment)
    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, HostRunLauncher)
        assert launcher.supports_check_run_worker_health
        lost = launcher.check_run_worker_health(run_of(instance, dead_pid()))
        assert lost.status == WorkerStatus.NOT_FOUND
        assert "was killed, or the machine was restarted" in str(lost.msg)
        assert launcher.check_run_worker_health(run_of(instance, os.getpid())).status == WorkerStatus.RUNNING
