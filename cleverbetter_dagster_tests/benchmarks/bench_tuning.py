"""What a study costs and what it earns: full trials, cheap trials, and cheap trials started from the month before.

    python -m cleverbetter_dagster_tests.benchmarks.bench_tuning --rows FOLDER --as-of 2023-12

FOLDER, or the variable CLEVERBETTER_BENCH_ROWS, holds backtest_results.parquet and ml_features.parquet as the
upstream tables have them; without it the sample rows are used. CPU seconds are of this process; full trials beyond
`--full-trials` are not run but reckoned at the mean cost of those that were. Studies are kept in memory.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import optuna
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.samples import SampleSpec, sample_rows
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition
from cleverbetter_dagster.learning.ensemble import Ensemble
from cleverbetter_dagster.learning.tuning import StudyPlace, StudyResult, StudySpec, pooled, run_study
from cleverbetter_dagster.services.datasets import plan_split
from cleverbetter_dagster.services.tuning import warm_start
from cleverbetter_dagster_tests.services.conftest import canonical

ROWS_VARIABLE = "CLEVERBETTER_BENCH_ROWS"
FAMILY = Ensemble()


class FullTrials(Ensemble):
    """The ensemble without its own scorer: every trial fits it as it will be fitted for good."""


@dataclass(frozen=True)
class Contest:
    """What one way of tuning cost and earned; `cpu_seconds` and `wall_seconds` are for `trials` trials."""

    trials: int
    cpu_seconds: float
    wall_seconds: float
    validation_auc: float
    test_auc: float


def load(folder: Path | None) -> pd.DataFrame:
    """Canonical rows: of the folder, or simulated."""
    if folder is None:
        return canonical(*sample_rows(SampleSpec(n_strategies=300, first_month="2021-01", months=36)))
    results, features = (pd.read_parquet(folder / f"{name}.parquet") for name in ("backtest_results", "ml_features"))
    market = pd.DataFrame([json.loads(text) for text in features["features"]]).add_prefix("ml_")
    rows = results.rename(columns={"total_return": "roi"}).merge(
        market.assign(id=features["backtest_result_id"]), on="id"
    )
    return rows.assign(total_bets=rows["total_bets"].astype(float))


def parts_of(rows: pd.DataFrame, as_of: AsOf) -> Partition:
    """Train, validation and test of one as_of, without the quality filter."""
    return plan_split(rows, as_of, DatasetSpec(min_composite_score=None)).parts


def auc_on_test(parts: Partition, params: dict[str, Any]) -> float:
    """AUC on the test rows of the model that would be trained with `params`."""
    model = FAMILY.fit(parts.train, parts.validation, params, 0, 1)
    return float(roc_auc_score(parts.test.y, model.predict_proba(parts.test.X)[:, 1]))


def measured(parts: Partition, trials: int, study: Callable[[], StudyResult]) -> Contest:
    """Run a study, and bring its cost to as many trials."""
    cpu, wall = process_time(), perf_counter()
    result = study()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    scale = trials / result.trials
    return Contest(trials, cpu * scale, wall * scale, result.mean_auc, auc_on_test(parts, result.params))


def compare(rows: pd.DataFrame, as_of: AsOf, spec: StudySpec, full_trials: int) -> dict[str, Contest]:
    """All ways of tuning on the same examples."""
    parts, before = parts_of(rows, as_of), parts_of(rows, as_of.previous())
    examples = pooled(parts.train, parts.validation)
    storage = optuna.storages.InMemoryStorage()
    attributes = {"metric": spec.metric}
    earlier = StudyPlace(f"ensemble {as_of.previous().key} x", storage, attributes)
    run_study(FAMILY, pooled(before.train, before.validation), spec, earlier)
    first = warm_start(storage, FAMILY.name, as_of.key, spec).first
    few = spec.model_copy(update={"n_trials": full_trials, "prune": False})
    none = spec.model_copy(update={"n_trials": 0})
    n_warm = min(spec.n_trials, spec.n_trials_warm)
    return {
        "defaults": measured(parts, 1, lambda: run_study(FAMILY, examples, none, StudyPlace("none"))),
        "full trials": measured(
            parts, spec.n_trials, lambda: run_study(FullTrials(), examples, few, StudyPlace("full"))
        ),
        "cheap trials": measured(parts, spec.n_trials, lambda: run_study(FAMILY, examples, spec, StudyPlace("cheap"))),
        "warm start": measured(
            parts, n_warm, lambda: run_study(FAMILY, examples, spec, StudyPlace("warm", first=first))
        ),
    }


def shown(contests: dict[str, Contest], full_trials: int) -> Table:
    """The comparison, for a person."""
    title = f"full trials: {full_trials} run, cost reckoned for the rest"
    table = Table(title=title, title_justify="left")
    for head in ("", "trials", "CPU s", "wall s", "less CPU", "validation AUC", "test AUC", "loss"):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    full = contests["full trials"]
    for name, one in contests.items():
        figures = [f"{one.cpu_seconds:,.1f}", f"{one.wall_seconds:,.1f}", f"{full.cpu_seconds / one.cpu_seconds:.1f}x"]
        aucs = [f"{one.validation_auc:.4f}", f"{one.test_auc:.4f}", f"{full.test_auc - one.test_auc:+.4f}"]
        table.add_row(name, str(one.trials), *figures, *aucs)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=os.environ.get(ROWS_VARIABLE))
    parser.add_argument("--as-of", default="2023-12")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--full-trials", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(options.rows) if options.rows else None
    console = Console()
    console.print(f"Rows: {folder or 'simulated (no --rows, no ' + ROWS_VARIABLE + ')'}, as of {options.as_of}")
    spec = StudySpec(n_trials=options.trials, seed=options.seed)
    contests = compare(load(folder), AsOf.parse(options.as_of), spec, options.full_trials)
    console.print(shown(contests, options.full_trials))


if __name__ == "__main__":
    main()
