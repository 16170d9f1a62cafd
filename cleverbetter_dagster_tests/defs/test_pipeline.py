"""The whole graph on a real PostgreSQL, a real MLflow and real Dagster runs: rows in, champion and stakes out."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import mlflow.pyfunc
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.definitions import assets
from cleverbetter_dagster.defs.assets import walk_forward
from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.resources import Deployment, mlflow_run
from cleverbetter_dagster.errors import DataError, NothingToJudge
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model
from cleverbetter_dagster.services.reports.parts import reproduction
from cleverbetter_dagster.services.reports.store import find_report
from cleverbetter_dagster.services.stored_assets import stored_evaluation
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.tracking.client import tracking_uri
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster_tests.services.conftest import canonical
from cleverbetter_dagster_tests.services.reports.test_store import typed
from cleverbetter_dagster_tests.services.training.counted_work import counted_work
from cleverbetter_dagster_tests.support.new_database import new_database

SIMULATION = SimulationSpec(n_strategies=150, first_month="2021-01", months=30)
FIRST, AS_OF, LAST = "2021-01", "2023-05", "2023-06"
EMPTY = "2023-08"
FAMILY_ASSETS = [f"{family}_{part}" for family in FAMILIES for part in ("study", "model", "evaluation")]
BRANCH = ["temporal_split", *FAMILY_ASSETS]
TRAIN = [*BRANCH, "model_comparison", "champion", "strategy_predictions"]
NO_FILTER = {"temporal_split": {"min_composite_score": None}}
QUICK = {"max_epochs": 3, "heads": 2, "width": 8}
FEW_STEPS = {"agents": 2, "total_steps": 1024, "checkpoints": 1, "rollout_steps": 16, "n_folds": 1}
ONE_FOLD = {
    "ensemble_study": {"n_folds": 1, "n_trials": 0},
    "classifier_study": {"n_folds": 1, "n_trials": 0, "params": QUICK},
    "rl_agent_study": {"n_folds": 1, "n_trials": 0, "params": FEW_STEPS},
}
WORK: Counter[str] = Counter()
"""Of the run that trains, promotes and predicts."""

EASY_GATE = {"champion": {"level": 0.55, "min_months": 2}}

Config = dict[str, dict[str, Any]]


def ops(config: Config) -> dict[str, Any]:
    """Run configuration of assets, from their options by name."""
    return {"ops": {name: {"config": values} for name, values in config.items()}}


def run(selection: list[str], months: tuple[str, str], config: Config | None = None, **how: bool) -> Any:
    """Materialise assets over a range of months in this process, as `dagster asset materialize` does."""
    return dg.materialize(
        assets,
        selection=selection,
        tags={"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[1]},
        resources={"io_manager": ArtefactIOManager(), "deployment": Deployment(), "mlflow": mlflow_run},
        run_config=ops(config or {}),
        instance=dg.DagsterInstance.ephemeral(),
        **how,
    )


def checks(result: Any) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


@pytest.fixture(scope="module")
def environment(
    postgres: ServerAddress, tmp_path_factory: pytest.TempPathFactory, with_timescaledb: bool
) -> Iterator[Settings]:
    """A database of this module's own, in the environment of this process as a person would set it."""
    home = tmp_path_factory.mktemp("pipeline")
    database = new_database(postgres, "pipeline", timescaledb=with_timescaledb)
    with database as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("DATABASE_URL", url)
        settings = Settings(home=home, database_url=url)  # type: ignore[arg-type]
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri(settings))  # for what these tests ask of MLflow themselves
        yield settings


@pytest.fixture
def _clean_environment() -> None:
    """This module sets the variables itself, once."""


@pytest.fixture(scope="module")
def sample() -> tuple[pd.DataFrame, pd.DataFrame]:
    return simulate_rows(SIMULATION)


@pytest.fixture(scope="module")
def deployment(
    environment: Settings, sample: tuple[pd.DataFrame, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Simulated rows imported, every month loaded, and the graph run once as of `AS_OF`."""
    files = [tmp_path_factory.mktemp("sample") / name for name in ("results.parquet", "features.parquet")]
    for frame, file in zip(sample, files, strict=True):
        frame.to_parquet(file)
    import_files(environment, *files)
    assert run(["training_rows"], (FIRST, AS_OF)).success
    with counted_work() as counts:
        assert run(TRAIN, (AS_OF, AS_OF), {**NO_FILTER, **ONE_FOLD, **EASY_GATE}).success
    WORK.update(counts)
    return environment


def test_a_run_builds_one_panel_and_hashes_rows_once(deployment: Settings) -> None:
    assert WORK == {"panels": 1, "hashes": 1}


def test_parquet_has_every_row_of_the_table(deployment: Settings) -> None:
    query = "SELECT to_char(end_date AT TIME ZONE 'UTC', 'YYYY-MM') AS month, count(*) FROM backtest_results GROUP BY 1"
    with psycopg_connect(deployment, "rows") as connection:
        counted = dict(connection.execute(query).fetchall())
    folder = Path(deployment.artefacts_base) / "training_rows"
    stored = {file.stem: len(pd.read_parquet(file)) for file in folder.glob("*.parquet")}
    assert {month: stored.get(month) for month in counted if month <= AS_OF} == {
        month: count for month, count in counted.items() if month <= AS_OF
    }


def test_the_registered_model_has_provenance_and_figures(deployment: Settings) -> None:
    version = Registry(deployment).get_version("ensemble", 1)
    assert version.as_of == AS_OF
    data = mlflow.get_run(version.run_id).data
    assert {"data_hash", "git_commit", "as_of", "family"} <= set(data.tags)
    assert data.params["seed"] == "0"
    assert 0.5 < data.metrics["auc_within_months"] < 1.0
    assert 0.5 < data.metrics["roc_auc"] < 1.0
    plots = {file.path for file in mlflow.MlflowClient().list_artifacts(version.run_id, "plots")}
    assert plots >= {f"plots/{name}.png" for name in ("reliability", "roc", "bankroll", "feature_importance")}


def test_the_models_mlflow_run_has_the_dagster_run_as_parent(deployment: Settings) -> None:
    child = mlflow.get_run(Registry(deployment).get_version("ensemble", 1).run_id)
    parent = mlflow.get_run(child.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["dagster_run_id"] == child.data.tags["dagster.run_id"]
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")


def test_the_first_model_that_beats_the_baselines_is_promoted(deployment: Settings) -> None:
    champion = ledger.champion(deployment)
    assert champion is not None
    assert (champion.model, champion.as_of, champion.action) == (("ensemble", 1), AS_OF, "promoted")
    assert {comparison["against"] for comparison in champion.evidence["comparisons"]} == {
        "base_rate",
        "persistence",
        "shrunk_return",
        "logistic",
    }
    assert Registry(deployment).get_version("ensemble", 1).is_champion


def test_mlflow_has_an_agents_stakes_beside_simple_rules(deployment: Settings) -> None:
    metrics = mlflow.get_run(Registry(deployment).get_version("rl_agent", 1).run_id).data.metrics
    rules = ("flat", "full_kelly", "half_kelly", "quarter_kelly", "shrunken_kelly", "nothing")
    figures = ("final_bankroll", "growth", "max_drawdown", "risk_of_ruin")
    assert {f"staking_{name}_{figure}" for name in ("agent", *rules) for figure in figures} <= set(metrics)
    assert metrics["staking_nothing_final_bankroll"] == 1.0
    assert {f"staking_monthly_log_growth_over_{rule}" for rule in rules} <= set(metrics)


def test_the_pyfunc_model_reproduces_the_stored_probabilities_from_every_form(
    deployment: Settings, sample: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    results, features = sample
    wide = canonical(*sample)
    bare = wide.rename(columns=lambda name: str(name).removeprefix("ml_"))
    forms = {"columns": wide, "columns without prefix": bare, "JSON": results.assign(features=features["features"])}
    model = mlflow.pyfunc.load_model("models:/ensemble@champion")
    stored = read_predictions(deployment, AS_OF).set_index("backtest_result_id")["probability"]
    for form, rows in forms.items():
        raw = rows[rows["end_date"] < pd.Timestamp("2023-06-01", tz="UTC")]
        reproduced = model.predict(raw)["probability"].set_axis(raw["id"])[stored.index]
        assert reproduced.tolist() == stored.tolist(), form
    with pytest.raises(DataError, match="not the whole history"):
        model.predict(wide.sort_values("end_date").groupby("strategy_id").tail(1))


def test_every_live_strategy_has_a_bounded_stake(deployment: Settings) -> None:
    predictions = read_predictions(deployment, AS_OF)
    assert predictions["strategy_id"].is_unique
    assert (predictions["decision_time"] >= pd.Timestamp("2023-03-31", tz="UTC")).all()
    assert predictions["recommended_stake"].between(0.0, 0.05).all()
    assert 0.0 < predictions["recommended_stake"].sum() <= 0.8 + 1e-9
    assert (predictions.loc[predictions["expected_return"] <= 0, "recommended_stake"] == 0).all()


def test_a_repeated_month_changes_no_prediction_and_no_champion(deployment: Settings) -> None:
    before, decisions = read_predictions(deployment, AS_OF), len(ledger.history(deployment))
    assert run(["champion", "strategy_predictions"], (AS_OF, AS_OF), EASY_GATE).success
    pd.testing.assert_frame_equal(read_predictions(deployment, AS_OF), before)
    assert len(ledger.history(deployment)) == decisions


def test_training_again_on_the_same_rows_gives_the_same_model(deployment: Settings) -> None:
    result = run(BRANCH, (AS_OF, AS_OF), {**NO_FILTER, **ONE_FOLD})
    first, again = (Registry(deployment).get_version("ensemble", version) for version in (1, 2))
    assert result.success
    assert first.tags["data_hash"] == again.tags["data_hash"]
    runs = [mlflow.get_run(version.run_id).data.metrics for version in (first, again)]
    assert runs[0]["brier"] == runs[1]["brier"]


def test_a_refused_challenger_leaves_the_champion_in_place(deployment: Settings) -> None:
    before = ledger.champion(deployment)
    strict = {"champion": {"min_months": 60}}
    assert run(["training_rows"], (LAST, LAST)).success
    assert run(TRAIN, (LAST, LAST), {**NO_FILTER, **ONE_FOLD, **strict}).success
    refusal = ledger.history(deployment, 1)[0]
    assert refusal.action == "refused"
    assert "at least 60 are needed" in refusal.reason
    assert ledger.champion(deployment) == before


def test_predictions_of_a_later_month_come_from_its_champion(deployment: Settings) -> None:
    predictions = read_predictions(deployment, LAST)
    assert set(predictions["model_version"]) == {1}


def test_too_few_examples_stop_the_run(deployment: Settings) -> None:
    few = {"temporal_split": {"min_composite_score": None, "min_examples": 1_000_000}}
    result = run(BRANCH, (AS_OF, AS_OF), few, raise_on_error=False)
    assert not result.success
    assert not checks(result)["enough_examples"]
    assert not [event for event in result.all_events if event.is_step_success and event.step_key == "ensemble_model"]
    _, path = find_report(deployment, "split", AS_OF)
    html = (Path(deployment.artefacts_base) / path).read_text()
    assert "Blocked" in html and "enough_examples" in html and "load more history" in html.lower()
    assert run(["temporal_split"], (AS_OF, AS_OF), NO_FILTER).success


def test_a_month_without_rows_can_be_an_as_of_month(deployment: Settings) -> None:
    result = run(["training_rows"], ("2023-07", EMPTY))
    assert {month: table.num_rows for month, table in result.output_for_node("training_rows").items()} == {
        "2023-07": 0,
        EMPTY: 0,
    }
    assert checks(run(["temporal_split"], (EMPTY, EMPTY), NO_FILTER))["enough_examples"]


def test_each_month_of_a_range_has_its_own_split(deployment: Settings) -> None:
    result = run(["temporal_split"], ("2023-03", AS_OF), NO_FILTER)
    records = result.output_for_node("temporal_split")
    assert list(records) == ["2023-03", "2023-04", AS_OF]
    assert records["2023-03"].rows < records["2023-04"].rows < records[AS_OF].rows
    alone = run(["temporal_split"], ("2023-03", "2023-03"), NO_FILTER).output_for_node("temporal_split")
    assert alone["2023-03"] == records["2023-03"]


def test_an_impossible_row_is_quarantined_and_its_month_is_loaded(deployment: Settings) -> None:
    with psycopg_connect(deployment, "rows", autocommit=True) as connection:
        row = connection.execute("SELECT id, win_rate FROM backtest_results WHERE end_date > '2023-06-01' LIMIT 1")
        row_id, win_rate = row.fetchone() or ("", 0.0)
        change = "UPDATE backtest_results SET win_rate = %s WHERE id = %s"
        connection.execute(change, [1.7, row_id])
        broken = run(["training_rows"], (LAST, LAST))
        connection.execute(change, [win_rate, row_id])
    mended = run(["training_rows"], (LAST, LAST))
    assert not checks(broken)["rows_are_plausible"]
    assert checks(mended)["rows_are_plausible"]
    rows = [result.output_for_node("training_rows")[LAST].num_rows for result in (broken, mended)]
    assert rows[0] == rows[1] - 1
    with psycopg_connect(deployment, "state") as connection:
        entry = connection.execute("SELECT status, column_name, value FROM quarantine WHERE row_id = %s", [row_id])
        assert entry.fetchall() == [("repaired", "win_rate", "1.7")]


def test_reports_are_stored_and_logged_to_the_models_run(deployment: Settings) -> None:
    result = run(["ensemble_report", "comparison_report"], (LAST, LAST))
    assert result.success
    made = result.output_for_node("ensemble_report")[LAST]
    html = Path(made.url).read_text()
    assert made.size_bytes == len(html.encode()) < 1_500_000
    assert "Refused" in html or "Did not challenge" in html
    assert "The ten to back" in html
    logged = {file.path for file in mlflow.MlflowClient().list_artifacts(made.run_id, "reports")}
    assert "reports/ensemble.html" in logged
    (event,) = [m for m in result.get_asset_materialization_events() if m.asset_key.path == ["ensemble_report"]]
    assert event.materialization.metadata["report"].value.endswith("artifacts/reports/ensemble.html")
    assert find_report(deployment, "comparison") == (LAST, f"reports/comparison/{LAST}.html")


def test_a_model_with_too_high_an_auc_is_refused(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleverbetter_dagster.evaluation.leaks.HIGHEST_MODEL_AUC", 0.6)
    before = ledger.champion(deployment)
    follows = ["model_comparison", "champion", "classifier_report", "comparison_report"]
    result = run(["classifier_evaluation", *follows], (AS_OF, AS_OF), EASY_GATE)
    (check,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "model_is_not_too_good_to_be_true"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert ledger.champion(deployment) == before
    for kind in ("classifier", "comparison"):
        html = Path(result.output_for_node(f"{kind}_report")[AS_OF].url).read_text()
        assert "The check model_is_not_too_good_to_be_true failed." in html
        assert "Check for data leakage" in html


@pytest.mark.slow
def test_the_reports_command_gives_the_same_scores_again(deployment: Settings) -> None:
    table = stored_evaluation(deployment, "ensemble", AsOf.parse(AS_OF))
    split = run(["temporal_split"], (AS_OF, AS_OF), NO_FILTER).output_for_node("temporal_split")[AS_OF]
    command = typed(reproduction([evaluated_model(table)], split))
    config = {name: op["config"] for name, op in json.loads(command["config_json"])["ops"].items()}
    again = run(command["select"].split(","), (command["partition"], command["partition"]), config)
    assert again.output_for_node("ensemble_evaluation")[AS_OF].equals(table)


def test_the_champion_asset_alone_keeps_all_guards(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleverbetter_dagster.evaluation.leaks.HIGHEST_MODEL_AUC", 0.6)
    before = ledger.champion(deployment)
    assert run(["model_comparison"], (AS_OF, AS_OF)).success
    assert run(["champion"], (AS_OF, AS_OF), EASY_GATE).success
    refusal = ledger.history(deployment, 1)[0]
    assert (refusal.action, refusal.as_of) == ("refused", AS_OF)
    assert "The check model_is_not_too_good_to_be_true failed." in refusal.reason
    assert ledger.champion(deployment) == before


INCREMENTAL = {f"{family}_model": {"training": "incremental"} for family in FAMILIES}
UPDATE = ["temporal_split", *(name for name in FAMILY_ASSETS if not name.endswith("_study")), "model_comparison"]


def test_an_incremental_run_without_new_rows_keeps_the_newest_version(deployment: Settings) -> None:
    newest = {family: Registry(deployment).list_versions(family)[-1] for family in FAMILIES}
    result = run([*UPDATE, "champion"], (EMPTY, EMPTY), {**NO_FILTER, **INCREMENTAL, **EASY_GATE})
    assert result.success
    for family, parent in newest.items():
        record = result.output_for_node(f"{family}_model")[EMPTY]
        version = Registry(deployment).list_versions(family)[-1]
        assert record.reuses_parent
        assert (record.as_of, record.parent_version, record.run_id) == (EMPTY, parent.version, parent.run_id)
        assert (version.version, version.as_of) == (parent.version, parent.as_of)
    assert ledger.history(deployment, 1)[0].as_of == EMPTY
    assert not (Path(deployment.artefacts_base) / "ensemble_study" / f"{EMPTY}.json").exists()


def test_a_full_run_without_its_study_has_a_remedy(deployment: Settings) -> None:
    result = run(["classifier_model"], (EMPTY, EMPTY), raise_on_error=False)
    assert "no classifier_study of 2023-08: materialise it" in str(result.failure_data_for_node("classifier_model"))


def test_a_walk_forward_without_months_fails_only_when_materialised_alone(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> None:
        raise NothingToJudge("There is nothing to walk forward over.")

    monkeypatch.setattr(walk_forward, "make_report", nothing)
    alone = run(["walk_forward_report"], (LAST, LAST), raise_on_error=False)
    assert not alone.success
    along = run(["training_rows", "walk_forward_report"], (LAST, LAST))
    assert {event.asset_key.to_user_string() for event in along.get_asset_materialization_events()} == {"training_rows"}
