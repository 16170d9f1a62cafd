"""The training guide's Python, typed as it is there, and the notebook of it, against a real PostgreSQL and MLflow."""

import ast
import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator
from inspect import isawaitable
from typing import Any

import numpy as np
import pytest

from cleverbetter_dagster.cli.servers.processes import mlflow_service
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.errors import GateRefused
from cleverbetter_dagster.model_registry import ModelRegistry
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.tracking.client import mlflow_client, tracking_uri
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.web.address import LOOPBACK, Address, free_port
from cleverbetter_dagster_tests.support.new_database import new_database

NOTEBOOK = REPOSITORY / "docs" / "guide.ipynb"
GUIDE = REPOSITORY.parent / "shared" / "guide" / "TRAINING_GUIDE.md"
PATIENCE_SECONDS = 120
SIMULATION = SimulationSpec(n_strategies=80, first_month="2021-01", months=24)
FEW_STEPS = {"agents": 1, "total_steps": 4096, "checkpoints": 1}

SNIPPETS = [
    """\
from app.training import TrainingPipeline, TrainingConfig

config = TrainingConfig(
    database_url="postgresql://...",
    min_composite_score=0.5
)

pipeline = TrainingPipeline(config)
data = await pipeline.load_data_from_database()
""",
    """\
X_train, X_val, X_test, y_train, y_val, y_test = pipeline.preprocess_data(data)
""",
    """\
model = await pipeline.train_model(
    X_train, y_train, X_val, y_val,
    model_type='ensemble'
)
""",
    """\
model = await pipeline.train_model(
    X_train, y_train, X_val, y_val,
    model_type='classifier'
)
""",
    """\
model = await pipeline.train_model(
    X_train, y_train, X_val, y_val,
    model_type='rl_agent'
)
""",
    """\
best_params = await pipeline.hyperparameter_search(
    X_train, y_train, X_val, y_val,
    model_type='ensemble',
    n_trials=100
)
""",
    """\
from app.evaluation import ModelEvaluator

evaluator = ModelEvaluator()

# Classification metrics
y_pred = model.predict(X_test)
y_pred_proba = model.predict_proba(X_test)
metrics = evaluator.calculate_classification_metrics(y_test, y_pred, y_pred_proba)

# Betting metrics
stakes = np.array([...])
returns = np.array([...])
betting_metrics = evaluator.calculate_betting_metrics(stakes, returns)
""",
    """\
from app.model_registry import ModelRegistry

registry = ModelRegistry(
    tracking_uri="http://localhost:5000",
    experiment_name="clever-better"
)

version = registry.register_model(
    model=model,
    model_name="ensemble",
    model_type="sklearn",
    metrics=metrics,
    params=best_params
)
""",
    """\
# Promote to production
registry.promote_model(
    model_name="ensemble",
    version=version,
    stage="Production"
)
""",
    """\
model = await pipeline.incremental_train(
    existing_model=current_model,
    X_new=new_data_X,
    y_new=new_data_y
)
""",
]

AGAINST_THE_GATE = SNIPPETS[8].replace('"Production"', '"Production",\n    override_gate=True')

LOAD, PREPROCESS, ENSEMBLE, CLASSIFIER, RL_AGENT, SEARCH, EVALUATE, REGISTER, PROMOTE, INCREMENTAL = SNIPPETS


@pytest.fixture(scope="module")
def _clean_environment() -> None:
    """This module sets the variables itself, once."""


@pytest.fixture(scope="module")
def deployment(
    postgres: ServerAddress, tmp_path_factory: pytest.TempPathFactory, with_timescaledb: bool
) -> Iterator[Settings]:
    """Simulated rows in a database of this module's own, their scores high enough for the guide's filter."""
    home = tmp_path_factory.mktemp("guide")
    database = new_database(postgres, "guide", timescaledb=with_timescaledb)
    with database as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("DATABASE_URL", url)
        patch.setenv("CLEVERBETTER_THREADS", "1")
        settings = Settings(home=home, database_url=url)  # type: ignore[arg-type]
        results, features = simulate_rows(SIMULATION)
        raised = results.assign(composite_score=(results["composite_score"] + 0.3).clip(upper=1.0))
        raised.to_parquet(home / "results.parquet")
        features.to_parquet(home / "features.parquet")
        import_files(settings, home / "results.parquet", home / "features.parquet")
        yield settings


def names_of(deployment: Settings) -> dict[str, Any]:
    """The names a notebook has before the first cell, with what the guide's placeholders stand for."""
    url = deployment.database_url and deployment.database_url.get_secret_value()
    return {"np": np, "url": str(url), "uri": tracking_uri(deployment)}


@pytest.fixture(scope="module")
def notebook(deployment: Settings) -> dict[str, Any]:
    """The names a notebook has once the guide was followed, up to its promotion."""
    names = names_of(deployment)
    for snippet in (LOAD, PREPROCESS, ENSEMBLE, SEARCH, EVALUATE, REGISTER):
        run_cell(snippet, names)
    # The gate judges it on the database's rows, which are stored nowhere: there are too few months of them.
    with pytest.raises(GateRefused, match="at least 6 are needed"):
        run_cell(PROMOTE, names)
    run_cell(AGAINST_THE_GATE, names)
    return names


def run_cell(snippet: str, names: dict[str, Any], trials: int = 2) -> None:
    """Run a snippet as a notebook does, top-level `await` included, with its placeholders filled in."""
    code = snippet.replace("app.", "cleverbetter_dagster.")
    code = code.replace('"postgresql://..."', "url").replace('"http://localhost:5000"', "uri")
    code = code.replace("np.array([...])", "np.array([10.0, 20.0])", 1).replace(
        "np.array([...])", "np.array([5.0, -2.0])"
    )
    code = code.replace("n_trials=100", f"n_trials={trials}")
    compiled = compile(code, "guide", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)
    if isawaitable(result):
        asyncio.run(_awaited(result))


async def _awaited(result: Any) -> None:
    await result


def test_the_snippets_are_those_of_the_guide() -> None:
    if not GUIDE.is_file():
        pytest.skip(f"no guide at {GUIDE}")
    assert re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) == SNIPPETS


def cells_of_the_notebook() -> list[str]:
    """The code of the notebook's cells."""
    notebook = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_calls_what_the_guide_calls() -> None:
    calls = re.compile(r"(?:pipeline|evaluator|registry|model)\.(\w+)\(")
    guide, notebook = ({*calls.findall("".join(code))} for code in (SNIPPETS, cells_of_the_notebook()))
    assert len(guide) > 8
    assert guide - notebook == set()


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(deployment: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for cell in cells_of_the_notebook():
        run_cell(cell, names)
    assert names["updated"].update_info.rows_added == len(names["new_data_X"]) > 100
    assert names["betting_metrics"]["total_stake"] == 10 * len(names["backed"]) > 0
    assert f"ensemble version {names['version']}" in capsys.readouterr().out


def test_the_parts_follow_one_another_in_time_60_20_20(notebook: dict[str, Any]) -> None:
    rows = notebook["data"].set_index("id")["end_date"]
    ends = [rows[notebook[name].index] for name in ("X_train", "X_val", "X_test")]
    assert ends[0].max() < ends[1].min()
    assert ends[1].max() < ends[2].min()
    shares = np.array([len(part) for part in ends]) / sum(len(part) for part in ends)
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    assert notebook["y_test"].index.equals(notebook["X_test"].index)


def test_the_guides_features_are_there_and_the_filter_was_applied(notebook: dict[str, Any]) -> None:
    guide = {"sharpe_ratio", "roi", "max_drawdown", "win_rate", "profit_factor", "total_bets"}
    assert guide <= set(notebook["X_train"].columns)
    assert any(column.startswith("ml_") for column in notebook["X_train"].columns)
    scores = notebook["data"].set_index("id")["composite_score"]
    assert scores[notebook["X_train"].index].min() >= 0.5
    assert scores.min() < 0.5


def test_the_search_gives_parameters_and_the_evaluation_its_metrics(notebook: dict[str, Any]) -> None:
    assert {"n_estimators", "learning_rate", "max_depth", "l2"} <= set(notebook["best_params"])
    assert 0.5 < notebook["metrics"]["roc_auc"] < 0.95
    assert notebook["betting_metrics"]["total_return"] == pytest.approx(3.0)


def test_the_registered_version_has_its_metrics_and_parameters(notebook: dict[str, Any], deployment: Settings) -> None:
    assert notebook["version"] == 1
    version = Registry(deployment).get_version("ensemble", 1)
    run = mlflow_client(deployment).get_run(version.run_id)
    assert run.data.metrics["roc_auc"] == notebook["metrics"]["roc_auc"]
    assert run.data.params["n_estimators"] == str(notebook["model"].params["n_estimators"])
    assert run.data.tags["model_type"] == "sklearn"
    assert version.tags["data_hash"] == notebook["model"].dataset.record.data_hash


def test_promotion_goes_through_the_ledger_and_mlflow_shows_the_stage(
    notebook: dict[str, Any], deployment: Settings
) -> None:
    champion = ledger.champion(deployment)
    assert champion is not None
    assert (champion.model, champion.actor) == (("ensemble", 1), "notebook")
    assert champion.evidence["gate"]["overridden"] is True
    refused = ledger.history(deployment)[1]
    assert (refused.action, refused.evidence["gate"]["source"]) == ("refused", "computed")
    version = mlflow_client(deployment).get_model_version_by_alias("ensemble", "champion")
    assert (int(version.version), version.tags["stage"]) == (1, "Production")


def test_other_stages_are_tags_and_make_no_champion(
    notebook: dict[str, Any], deployment: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    run_cell(REGISTER, notebook)
    with caplog.at_level(logging.INFO):
        run_cell(PROMOTE.replace("Production", "Staging"), notebook)
    assert "ensemble v2 is in stage Staging" in caplog.text
    assert Registry(deployment).get_version("ensemble", 2).stage == "Staging"
    champion = ledger.champion(deployment)
    assert champion is not None
    assert champion.version == 1


@pytest.mark.parametrize(
    ("family", "snippet"),
    [
        pytest.param("classifier", CLASSIFIER, marks=pytest.mark.slow, id="classifier as typed"),
        pytest.param("rl_agent", RL_AGENT.replace("'rl_agent'", f"'rl_agent', params={FEW_STEPS}"), id="rl_agent"),
        pytest.param("rl_agent", RL_AGENT, marks=pytest.mark.slow, id="rl_agent as typed"),
    ],
)
def test_the_other_families_train_as_well(notebook: dict[str, Any], family: str, snippet: str) -> None:
    names = dict(notebook)
    run_cell(snippet, names)
    assert names["model"].family == family
    assert names["model"].predict_proba(names["X_test"]).shape == (len(names["X_test"]), 2)


def test_an_earlier_model_learns_later_rows(notebook: dict[str, Any]) -> None:
    earlier: dict[str, Any] = {"np": np, "url": notebook["url"]}
    run_cell(LOAD.replace("min_composite_score=0.5", "min_composite_score=0.5, as_of='2022-09'"), earlier)
    run_cell(PREPROCESS, earlier)
    run_cell(ENSEMBLE, earlier)
    names = notebook | {"current_model": earlier["model"]}
    names["new_data_X"], names["new_data_y"] = names["pipeline"].new_examples(names["current_model"])
    assert len(names["new_data_X"]) > 100
    before = names["current_model"].predict_proba(names["X_test"])
    run_cell(INCREMENTAL, names)
    assert not np.array_equal(names["model"].predict_proba(names["X_test"]), before)
    assert np.array_equal(names["current_model"].predict_proba(names["X_test"]), before)
    assert names["pipeline"].new_examples(names["model"])[0].empty


@pytest.mark.parametrize("trials", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_the_whole_guide_promotes_and_updates_the_last_model(
    deployment: Settings, caplog: pytest.LogCaptureFixture, trials: int
) -> None:
    names = names_of(deployment)
    for snippet in (LOAD, PREPROCESS, ENSEMBLE, CLASSIFIER, RL_AGENT, SEARCH, EVALUATE, REGISTER, AGAINST_THE_GATE):
        run_cell(snippet, names, trials=trials)
    assert f"ensemble v{names['version']} holds a model of the family rl_agent" in caplog.text
    champion, version = ledger.champion(deployment), Registry(deployment).get_version("ensemble", names["version"])
    assert champion is not None
    assert champion.model == ("ensemble", names["version"])
    assert version.model_family == "rl_agent"
    names["current_model"] = ModelRegistry().load_model("ensemble")
    names["new_data_X"], names["new_data_y"] = names["X_test"], names["y_test"]
    run_cell(INCREMENTAL, names)
    assert (names["model"].family, names["model"].update_info.rows_added) == ("rl_agent", len(names["X_test"]))


def test_a_database_that_was_read_is_the_one_named(deployment: Settings) -> None:
    with psycopg_connect(deployment, "rows") as connection:
        counted = connection.execute("SELECT count(*) FROM backtest_results").fetchone()
    assert counted is not None
    names: dict[str, Any] = {"url": str(deployment.database_url and deployment.database_url.get_secret_value())}
    run_cell(LOAD, names)
    assert len(names["data"]) == counted[0]


@pytest.mark.slow
def test_registering_and_promoting_go_through_a_tracking_server_as_typed(
    notebook: dict[str, Any], deployment: Settings
) -> None:
    address = Address(LOOPBACK, free_port(44000))
    service = mlflow_service(deployment, tracking_uri(deployment), (deployment.home / "served").as_uri(), address)
    with service.start(deployment.home, {}) as server:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not service.answers():
            assert time.monotonic() < deadline, service.log.read_text()
            time.sleep(0.2)
        names = notebook | {"uri": service.url}
        run_cell(REGISTER.replace("clever-better", "served"), names)
        run_cell(AGAINST_THE_GATE, names)
        loaded = ModelRegistry(tracking_uri=service.url).load_model("ensemble", names["version"])
        server.terminate()
    version = mlflow_client(deployment).get_model_version("ensemble", str(names["version"]))
    assert version.source.startswith((deployment.home / "served").as_uri())
    assert version.tags["stage"] == "Production"
    assert np.array_equal(loaded.predict_proba(names["X_test"]), names["model"].predict_proba(names["X_test"]))
