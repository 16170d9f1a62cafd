"""How many runs are at once, on one machine and on workers; and what the limits of workers leave to Dagster."""

from typing import Any

import dagster as dg
import pytest
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig

from cleverbetter_dagster.cli.servers.worker import UNLIMITED, allow_side_by_side
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.workers import launcher, queue
from cleverbetter_dagster.store.workers.queue import LANE, MONTHS, TRAINING

REDIS = "redis://:word@127.0.0.1:1/0"


@pytest.fixture
def on_workers(environment: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose runs go to workers; their Redis is away."""
    monkeypatch.setenv("CLEVERBETTER_WORKERS_URL", REDIS)
    prepare_home(environment)
    return load_settings()


def config(instance: dg.DagsterInstance) -> RunQueueConfig:
    found = instance.get_concurrency_config().run_queue_config
    assert found is not None
    return found


def test_months_run_side_by_side_in_every_slot(on_workers: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "slots_of_workers", lambda _: {"a": 2, "b": 3})
    with dg.DagsterInstance.get() as instance:
        found = config(instance)
    limits: dict[str, Any] = {str(limit["value"]): limit["limit"] for limit in found.tag_concurrency_limits}
    assert found.max_concurrent_runs == 5
    assert limits[TRAINING] == 1 and MONTHS not in limits


def test_workers_that_come_are_counted_after_seconds(on_workers: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    slots, now = {"a": 1}, [0.0]
    monkeypatch.setattr(launcher, "slots_of_workers", lambda _: slots)
    monkeypatch.setattr(queue, "monotonic", lambda: now[0])
    with dg.DagsterInstance.get() as instance:
        assert config(instance).max_concurrent_runs == 1
        slots["b"] = 4
        assert config(instance).max_concurrent_runs == 1
        now[0] = queue.SLOTS_SECONDS + 1
        assert config(instance).max_concurrent_runs == 5


def test_runs_wait_in_the_queue_while_redis_is_away(on_workers: Settings) -> None:
    with dg.DagsterInstance.get() as instance:
        assert config(instance).max_concurrent_runs == 0


def test_a_familys_own_limit_is_kept(environment: Settings) -> None:
    prepare_home(environment)
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("ensemble_training", 2)
        allow_side_by_side(instance)
        limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    assert limits["ensemble_training"] == 2 and limits["classifier_training"] == UNLIMITED
    assert limits.get("rows", 1) == 1


def test_an_edited_file_keeps_its_own_limits(environment: Settings) -> None:
    file = prepare_home(environment) / "dagster.yaml"
    file.write_text(file.read_text().replace("concurrency:\n", "concurrency:\n  runs: {max_concurrent_runs: 7}\n"))
    with dg.DagsterInstance.get() as instance:
        assert config(instance).max_concurrent_runs == 7
        assert LANE in {limit["key"] for limit in config(instance).tag_concurrency_limits}


@pytest.mark.parametrize("url", ["amqp://host", "redis:/host", "redis://a b"])
def test_only_the_url_of_a_redis_leads_to_workers(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CLEVERBETTER_WORKERS_URL", url)
    with pytest.raises(SettingsError, match=r"CLEVERBETTER_WORKERS_URL.*redis://host:6379/0"):
        load_settings()
