"""A run whose results MLflow is to keep fails before any work if MLflow does not answer."""

from typing import Any

import dagster as dg
import psycopg
import pytest

from cleverbetter_dagster.definitions import assets
from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.resources import Deployment, mlflow_run
from cleverbetter_dagster.defs.runs import _permanent_failures

SENTENCE = "MLflow does not answer at http://127.0.0.1:1 (MLFLOW_TRACKING_URI): Connection refused."
TRAINING = ["training_rows", "temporal_split", "ensemble_study", "ensemble_evaluation"]
"""Without the model, whose resource would ask first: this process holds all steps, a job's steps have one each."""


@pytest.fixture
def away(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two empty tables, and an MLflow that is down."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")


def run(instance: dg.DagsterInstance, selection: list[str]) -> Any:
    return dg.materialize(
        assets,
        selection=selection,
        partition_key="2023-12",
        resources={"io_manager": ArtefactIOManager(), "deployment": Deployment(), "mlflow": mlflow_run},
        instance=instance,
        raise_on_error=False,
    )


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("first", range(2))
def test_a_training_fails_at_once_and_may_be_repeated(first: int) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(instance, TRAINING[first:])
        (failure,) = result.get_step_failure_events()
        assert failure.step_key == TRAINING[first]
        assert SENTENCE in failure.step_failure_data.error.cause.message
        assert not [event for event in result.all_events if event.is_step_up_for_retry]
        assert _permanent_failures(instance, result.run_id) == []  # a sensor may request it again


@pytest.mark.usefixtures("away")
def test_rows_alone_are_loaded_without_mlflow() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(instance, ["training_rows"]).success
