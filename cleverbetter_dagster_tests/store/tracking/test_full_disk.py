"""A disk that is full while a model is stored."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.client import experiment_id, mlflow_client
from cleverbetter_dagster.store.tracking.package import load_model, log_model
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.store.tracking.test_package import MODEL

SPEC = RunSpec("ensemble", "2023-06", "full")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write more bytes than this into one file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_fails_the_run_and_registers_nothing(empty_registry: Settings) -> None:
    with pytest.raises(OSError, match="File too large"), files_of_at_most(1000), start_run(empty_registry, SPEC) as run:
        log_model(run, MODEL)
    client = mlflow_client(empty_registry)
    assert client.get_run(run.run_id).info.status == "FAILED"
    logged = client.search_logged_models([experiment_id(empty_registry)])
    assert [model.status.value for model in logged if model.source_run_id == run.run_id] == ["PENDING"]
    assert Registry(empty_registry).list_versions() == []
    with start_run(empty_registry, SPEC) as again:  # once there is room
        packed = log_model(again, MODEL)
    assert load_model(empty_registry, packed.model_uri).feature_names == MODEL.feature_names
