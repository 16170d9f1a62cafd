"""The whole graph on rows as the upstream service writes them."""

import dagster as dg
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec
from cleverbetter_dagster.services.champion.manual_promotion import promote_by_hand
from cleverbetter_dagster.services.doctor.dates import dates
from cleverbetter_dagster.services.stored_assets import stored_evaluation, stored_rows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.quarantine import Filter, open_quarantine, select_entries
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.strategies import strategy_names
from cleverbetter_dagster_tests.defs.test_pipeline import ONE_FOLD, run
from cleverbetter_dagster_tests.support.upstream_service import service_rows, write_service_rows

SIMULATION = SimulationSpec(n_strategies=60, first_month="2021-01", months=18)
FIRST, AS_OF = "2021-01", "2022-06"
BRANCH = ["temporal_split", *(f"classifier_{part}" for part in ("study", "model", "evaluation"))]
CONFIG = {
    "temporal_split": {"min_composite_score": None, "min_examples": 100},
    "classifier_study": ONE_FOLD["classifier_study"],
}


@pytest.fixture
def written(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    assert tracked.database_url is not None
    monkeypatch.setenv("DAGSTER_HOME", str(tracked.home))
    monkeypatch.setenv("DATABASE_URL", tracked.database_url.get_secret_value())
    rows = service_rows(SIMULATION, pd.Timestamp.now(tz="UTC"))
    with psycopg_connect(tracked, "rows", autocommit=True) as connection:
        write_service_rows(connection, rows)
    return rows


def loaded_metadata(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What the asset `training_rows` says of the methods it left out, by month."""
    events = result.asset_materializations_for_node("training_rows")
    return {str(event.partition): str(event.metadata["methods_left_out"].value) for event in events}


def test_rows_of_the_service_become_a_champion_and_stakes(tracked: Settings, written: pd.DataFrame) -> None:
    loaded = run(["training_rows"], (FIRST, AS_OF))
    assert loaded.success
    rows = {month: table.to_pandas() for month, table in stored_rows(tracked, AsOf.parse(AS_OF)).items()}

    # Every window is in the month it covers, and everything but an estimate is a row.
    backtests = written[written["method"] != "ml_estimate"]
    covered = backtests["start_date"].dt.strftime("%Y-%m").value_counts()
    assert {month: len(table) for month, table in rows.items()} == covered.to_dict()
    assert {method for table in rows.values() for method in table["method"]} == {"real_backtest", "aggregated"}
    with open_quarantine(tracked) as connection:
        assert not select_entries(connection, Filter())

    # Features are those of the results table; a JSON null is none.
    table = pd.concat(rows.values())
    measured = table.groupby("method")["ml_avg_odds"].agg(lambda odds: odds.notna().mean())
    assert measured.to_dict() == {"aggregated": 0.0, "real_backtest": 1.0}

    # Estimates are named and counted.
    estimates = written[written["method"] == "ml_estimate"]["start_date"].dt.strftime("%Y-%m").value_counts()
    assert loaded_metadata(loaded) == {month: f"ml_estimate: {rows:,} rows" for month, rows in estimates.items()}
    (line,) = [line for line in dates(tracked, resolve_source(tracked)) if line.name == "methods"]
    assert f"ml_estimate: {estimates.sum():,}" in line.message

    assert run(BRANCH, (AS_OF, AS_OF), CONFIG).success
    assert stored_evaluation(tracked, "classifier", AsOf.parse(AS_OF)).num_rows > 0
    promote_by_hand(tracked, ("classifier", 1), "the test", "the test", override=True)
    assert run(["strategy_predictions"], (AS_OF, AS_OF)).success
    predictions = read_predictions(tracked, AS_OF)
    newest = backtests[backtests["start_date"] >= "2022-05-01"]
    assert set(predictions["strategy_id"]) == set(newest["strategy_id"])
    assert (predictions["decision_time"] == pd.Timestamp("2022-07-01", tz="UTC")).any()
    names = strategy_names(tracked, set(predictions["strategy_id"]))
    assert names.keys() == set(predictions["strategy_id"])
    assert all(name.startswith("Strategy ") for name in names.values())
