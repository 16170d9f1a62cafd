"""The whole graph on a real PostgreSQL, a real MLflow and real Dagster runs: rows in, champion and stakes out."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import mlflow
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.samples import SampleSpec, sample_rows
from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.resources import Deployment, mlflow_run
from cleverbetter_dagster.definitions import assets
from cleverbetter_dagster.services.records import ChampionRecord, PredictionsRecord
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store import ledger
from cleverbetter_dagster.store.database import psycopg_connect
from cleverbetter_dagster.store.importer import import_files
from cleverbetter_dagster.store.model_package import load_model
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.registry import Registry
from cleverbetter_dagster.store.tracking import tracking_uri

SAMPLE = SampleSpec(n_strategies=150, first_month="2021-01", months=30)
TRAIN = (
    "temporal_split,ensemble_study,ensemble_model,ensemble_evaluation,model_comparison,champion,strategy_predictions"
)
FIRST, AS_OF, NEXT = "2021-01", "2023-05", "2023-06"
RESOURCES = {"io_manager": ArtefactIOManager(), "deployment": Deployment(), "mlflow": mlflow_run}
SETTINGS_OF_SPLIT = {"min_composite_score": None}


def run(selection: str, months: tuple[str, str], ops: dict[str, dict] | None = None, **how: bool) -> dg.ExecuteInProcessResult:
    config = {"temporal_split": SETTINGS_OF_SPLIT} if "temporal_split" in selection else {}
    return dg.materialize(
        assets,
        selection=selection.split(","),
        tags={"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[1]},
        resources=RESOURCES,
        run_config={"ops": {name: {"config": values} for name, values in {**config, **(ops or {})}.items()}},
        **how,
    )


@pytest.fixture(scope="module")
def deployment(module_database: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database with sample rows in it, every month loaded, and the graph run once as of `AS_OF`."""
    results, features = sample_rows(SAMPLE)
    folder = tmp_path_factory.mktemp("sample")
    results.to_parquet(folder / "results.parquet")
    features.to_parquet(folder / "features.parquet")
    import_files(module_database, folder / "results.parquet", folder / "features.parquet")
    assert run("training_rows", (FIRST, NEXT)).success
    assert run(TRAIN, (AS_OF, AS_OF)).success
    yield module_database


def value(result: dg.ExecuteInProcessResult, asset: str, month: str) -> object:
    return result.output_for_node(asset)[month]


def test_the_rows_of_every_month_are_in_parquet_as_they_are_in_the_table(deployment: Settings) -> None:
    with psycopg_connect(deployment, "rows") as connection:
        counted = dict(connection.execute("SELECT to_char(end_date AT TIME ZONE 'UTC', 'YYYY-MM'), count(*) FROM backtest_results GROUP BY 1"))
    folder = Path(deployment.artefacts_base) / "training_rows"
    assert {file.stem: len(pd.read_parquet(file)) for file in folder.glob("*.parquet")} == counted


def test_the_model_is_registered_with_its_lineage_and_loads_with_the_predictions_that_were_stored(deployment: Settings) -> None:
    version = Registry(deployment).get_version("ensemble", 1)
    assert version.as_of == AS_OF
    mlflow.set_tracking_uri(tracking_uri(deployment))
    data = mlflow.get_run(version.run_id).data
    assert {"data_hash", "git_commit", "as_of", "family"} <= set(data.tags)
    assert 0.5 < data.metrics["roc_auc"] < 0.95
    assert data.metrics["roc_auc_low"] < data.metrics["roc_auc"] < data.metrics["roc_auc_high"]
    parent = mlflow.get_run(data.tags["mlflow.parentRunId"])
    assert parent.data.tags["dagster_run_id"] == data.tags["dagster.run_id"]


def test_raw_rows_go_into_the_pyfunc_model_and_the_stored_probabilities_come_out(deployment: Settings, raw_rows: pd.DataFrame) -> None:
    mlflow.set_tracking_uri(tracking_uri(deployment))
    champion = ledger.champion(deployment)
    assert champion is not None
    said = mlflow.pyfunc.load_model(f"models:/{champion.family}@champion").predict(raw_rows)
    stored = read_predictions(deployment, AS_OF).set_index("backtest_result_id")["probability"]
    found = pd.Series(said["probability"].to_numpy(), index=raw_rows["id"])[stored.index]
    pd.testing.assert_series_equal(found, stored, check_names=False, check_exact=True)
