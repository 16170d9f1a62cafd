"""What the launcher of workers says of a run's process, and what becomes of a run whose worker was lost."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, RunFailureReason
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from cleverbetter_dagster.errors import WorkersUnavailable
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.workers import launcher
from cleverbetter_dagster.store.workers.leases import held_lease
from cleverbetter_dagster_tests.store.workers.test_queue import REDIS


@pytest.fixture
def instance(environment: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("CLEVERBETTER_WORKERS_URL", REDIS)
    prepare_home(environment)
    with dg.DagsterInstance.get() as found:
        yield found


def test_a_run_without_lease_is_lost_after_its_grace(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, run = [0.0], create_run_for_test(instance, "retrain")
    monkeypatch.setattr(launcher, "monotonic", lambda: now[0])
    with held_lease(load_settings(), run.run_id, lambda: None):
        now[0] = 1000.0
        assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    now[0] += launcher.LOST_SECONDS
    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.FAILED


def test_a_lost_run_is_launched_again_but_no_failed_one(instance: dg.DagsterInstance) -> None:
    lost, failed = (
        create_run_for_test(instance, "retrain", tags=launcher.LOST_RUN_TAGS, status=dg.DagsterRunStatus.STARTED)
        for _ in range(2)
    )
    instance.report_run_failed(lost, "its worker was lost")
    step = DagsterEvent.job_failure(failed.job_name, "a step", RunFailureReason.STEP_FAILURE)
    instance.report_dagster_event(step, failed.run_id)
    tags = [run.tags.get("dagster/will_retry") for one in (lost, failed) if (run := instance.get_run_by_id(one.run_id))]
    assert tags == ["true", "false"]


def test_a_run_is_cancelled_through_the_database(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, "retrain", status=dg.DagsterRunStatus.STARTED)
    assert instance.run_launcher.terminate(run.run_id)
    found = instance.get_run_by_id(run.run_id)
    assert found and found.status == dg.DagsterRunStatus.CANCELING


def test_a_redis_that_is_away_is_named_without_its_password(instance: dg.DagsterInstance) -> None:
    with pytest.raises(WorkersUnavailable, match=r"Redis of CLEVERBETTER_WORKERS_URL does not answer.*127\.0\.0\.1:1"):
        launcher.require_broker(load_settings())
