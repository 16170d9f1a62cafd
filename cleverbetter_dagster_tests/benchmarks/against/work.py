"""Pieces of work for `bench_against`, each a process of its own. It runs with the packages of either build.

    python cleverbetter_dagster_tests/benchmarks/against/work.py retrain 2023-12

So it imports of the package only what both builds have, under either name, and nothing of these tests.
"""

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import pandas as pd

FIGURES = ("roc_auc", "brier")

STUDIES: Mapping[str, Mapping[str, Any]] = {
    "ensemble_study": {"n_trials": 5},
    "classifier_study": {"n_trials": 0, "n_folds": 1},
    "rl_agent_study": {"n_trials": 0, "n_folds": 1, "params": {"total_steps": 16_384}},
}
"""Those of the demo."""


def canonical_rows(folder: Path) -> pd.DataFrame:
    """The rows of a folder, as models are trained on them."""
    results, features = (pd.read_parquet(folder / f"{name}.parquet") for name in ("backtest_results", "ml_features"))
    market = pd.DataFrame([json.loads(text) for text in features["features"]]).add_prefix("ml_")
    rows = results.rename(columns={"total_return": "roi"}).assign(total_bets=results["total_bets"].astype(float))
    return rows.merge(market.assign(id=features["backtest_result_id"]), on="id")


def load_rows() -> None:
    """Load every month that has rows."""
    settings, loading = _settings(), _module("services.ingest.loading", "services.loading")
    months = loading.months_with_rows(settings)
    _run("load_rows", (months[0], months[-1]), {})


def retrain(as_of: str) -> None:
    """The job `retrain` of one month, with short studies."""
    _run("retrain", (as_of, as_of), {"ops": {name: {"config": config} for name, config in STUDIES.items()}})


def fit(family: str, folder: str) -> None:
    """Fit a family with its defaults on the rows of a folder; prints the CPU seconds of the fit, and its figures."""
    from sklearn.metrics import brier_score_loss, roc_auc_score

    as_of = import_module("cleverbetter_dagster.dataset.as_of").AsOf
    spec = import_module("cleverbetter_dagster.dataset.spec").DatasetSpec()
    rows = canonical_rows(Path(folder))
    dataset = _module("services.training.datasets", "services.datasets").plan_split(
        rows, as_of.of(rows["end_date"].max()), spec
    )
    learner = import_module("cleverbetter_dagster.learning.catalogue").get_family(family)
    started = process_time()
    model = learner.fit(dataset.parts.train, dataset.parts.validation, learner.default_params(), 0, 1)
    cpu, test = process_time() - started, dataset.parts.test
    probability = model.predict_proba(test.X)[:, 1]
    measured = {"roc_auc": roc_auc_score(test.y, probability), "brier": brier_score_loss(test.y, probability)}
    print(json.dumps({"cpu": cpu, "figures": {family: measured}}))


def figures(home: Path, output: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """AUC and Brier score by as_of and model: those of a home's leaderboards, or of a fit."""
    if "figures" in output:
        return dict(output["figures"])
    found = {}
    for path in sorted(home.glob(".cleverbetter/artefacts/model_comparison/*.json")):
        for row in json.loads(path.read_text())["leaderboard"]:
            found[f"{path.stem} {row['name']}"] = {name: row[name]["point"] for name in FIGURES if row[name]}
    return found


def _run(job: str, months: tuple[str, str], config: Mapping[str, Any]) -> None:
    launch = import_module("cleverbetter_dagster.defs.launches").Launch(job, (), months, {}, config)
    _module("cli.models.launch", "cli.launch").run_job(_settings(), launch, quiet=True)


def _settings() -> Any:
    return import_module("cleverbetter_dagster.settings").load_settings()


def _module(now: str, then: str) -> Any:
    """A module of the package by its name now, or by the one it had."""
    try:
        return import_module(f"cleverbetter_dagster.{now}")
    except ModuleNotFoundError:
        return import_module(f"cleverbetter_dagster.{then}")


if __name__ == "__main__":
    {"load_rows": load_rows, "retrain": retrain, "fit": fit}[sys.argv[1]](*sys.argv[2:])
