"""What a study costs and what it earns: full trials, cheap trials, and cheap trials started from the month before.

    python -m cleverbetter_dagster_tests.benchmarks.bench_tuning --rows FOLDER --as-of 2023-12

FOLDER, or the variable CLEVERBETTER_BENCH_ROWS, holds backtest_results.parquet and ml_features.parquet as the
upstream tables have them; without it the simulated rows are used. CPU seconds are of this process; full trials beyond
`--full-trials` are not run but reckoned at the mean cost of those that were. Studies are kept in memory and have no
time limit. "less than full" compares with the naive search, "than cheap" with a cold study as it runs. A second table
tells what AUC the test rows allow (`auc_account`).
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import optuna
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition
from cleverbetter_dagster.learning.ensemble.family import Ensemble, FittedEnsemble
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster.learning.scoring import FitScorer, StudySpec
from cleverbetter_dagster.learning.tuning.study import StudyContext, StudyResult, run_study
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split
from cleverbetter_dagster.services.training.tune import warm_start
from cleverbetter_dagster_tests.benchmarks.tuning import auc_account
from cleverbetter_dagster_tests.services.conftest import canonical

ROWS_VARIABLE = "CLEVERBETTER_BENCH_ROWS"
FAMILY = Ensemble()


class FullTrials(Ensemble):
    """The ensemble without its own scorer: every trial fits it as it will be fitted for good."""

    def scorer(self, examples: Examples, spec: StudySpec) -> FitScorer:
        return FitScorer(self.fit, examples, spec)


@dataclass(frozen=True)
class Contest:
    """What one way of tuning cost and earned; seconds are for `trials` trials, of which `run` were run."""

    trials: int
    run: int
    cpu_seconds: float
    wall_seconds: float
    result: StudyResult
    model: FittedEnsemble
    test_auc: float


def load(folder: Path | None) -> pd.DataFrame:
    """Canonical rows: of the folder, or simulated."""
    if folder is None:
        return canonical(*simulate_rows(SimulationSpec(n_strategies=300, first_month="2021-01", months=36)))
    results, features = (pd.read_parquet(folder / f"{name}.parquet") for name in ("backtest_results", "ml_features"))
    market = pd.DataFrame([json.loads(text) for text in features["features"]]).add_prefix("ml_")
    rows = results.rename(columns={"total_return": "roi"}).merge(
        market.assign(id=features["backtest_result_id"]), on="id"
    )
    return rows.assign(total_bets=rows["total_bets"].astype(float))


def unfiltered(rows: pd.DataFrame, as_of: AsOf) -> Dataset:
    """The examples of one as_of, without the quality filter."""
    return plan_split(rows, as_of, DatasetSpec(min_composite_score=None))


def measured(parts: Partition, trials: int, study: Callable[[], StudyResult]) -> Contest:
    """Run a study, bring its cost to as many trials, and train on what it found."""
    cpu, wall = process_time(), perf_counter()
    result = study()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    scale = trials / result.trials
    model = FAMILY.fit(parts.train, parts.validation, result.params, 0, 1)
    test_auc = float(roc_auc_score(parts.test.y, model.predict_proba(parts.test.X)[:, 1]))
    return Contest(trials, result.trials, cpu * scale, wall * scale, result, model, test_auc)


def compare(dataset: Dataset, before: Dataset, spec: StudySpec, full_trials: int) -> dict[str, Contest]:
    """All ways of tuning on the same examples; the warm start goes on from a study of the month `before`."""
    parts, examples = dataset.parts, pooled(dataset.parts.train, dataset.parts.validation)
    storage = optuna.storages.InMemoryStorage()
    earlier = StudyContext(f"{FAMILY.name} {before.record.as_of} x", storage, {"metric": spec.metric})
    run_study(FAMILY, pooled(before.parts.train, before.parts.validation), spec, earlier)
    first = warm_start(storage, FAMILY.name, dataset.record.as_of, spec).first
    few = spec.model_copy(update={"n_trials": full_trials, "prune": False})
    none = spec.model_copy(update={"n_trials": 0})
    n_warm = min(spec.n_trials, spec.n_trials_warm)
    return {
        "defaults": measured(parts, 1, lambda: run_study(FAMILY, examples, none, StudyContext("none"))),
        "full trials": measured(
            parts, spec.n_trials, lambda: run_study(FullTrials(), examples, few, StudyContext("full"))
        ),
        "cheap trials": measured(
            parts, spec.n_trials, lambda: run_study(FAMILY, examples, spec, StudyContext("cheap"))
        ),
        "warm start": measured(
            parts, n_warm, lambda: run_study(FAMILY, examples, spec, StudyContext("warm", first=first))
        ),
    }


def shown(contests: dict[str, Contest]) -> Table:
    """The comparison, for a person."""
    full, cheap = contests["full trials"], contests["cheap trials"]
    reckoned = f"{full.run} run, the cost of {full.trials - full.run} reckoned at their mean"
    title = f"full trials: {reckoned if full.run < full.trials else f'all {full.run} run'}"
    table = Table(title=title, title_justify="left")
    for head in ("", "trials", "CPU s", "wall s", "less than full", "than cheap", "validation AUC", "test AUC", "loss"):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for name, one in contests.items():
        costs = [f"{one.cpu_seconds:,.1f}", f"{one.wall_seconds:,.1f}"]
        less = [f"{other.cpu_seconds / one.cpu_seconds:.1f}x" for other in (full, cheap)]
        aucs = [f"{one.result.scores.mean('auc'):.4f}", f"{one.test_auc:.4f}", f"{full.test_auc - one.test_auc:+.4f}"]
        table.add_row(name, str(one.trials), *costs, *less, *aucs)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=os.environ.get(ROWS_VARIABLE))
    parser.add_argument("--as-of", default="2023-12")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument(
        "--full-trials", type=int, default=25, help="of them run in full; the cost of the rest is reckoned"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(options.rows) if options.rows else None
    console = Console(width=130)  # the tables are wide, also where the output is kept
    console.print(f"Rows: {folder or 'simulated (no --rows, no ' + ROWS_VARIABLE + ')'}, as of {options.as_of}")
    spec = StudySpec(n_trials=options.trials, seed=options.seed, timeout_seconds=None)
    rows, as_of = load(folder), AsOf.parse(options.as_of)
    dataset, before = unfiltered(rows, as_of), unfiltered(rows, as_of.plus(-1))
    contests = compare(dataset, before, spec, min(options.full_trials, options.trials))
    console.print(shown(contests))
    tuned = contests["cheap trials"]
    forecasts = auc_account.account(dataset.parts, tuned.model, EnsembleParams(**tuned.result.params))
    console.print(auc_account.shown(forecasts, dataset.parts.test))


if __name__ == "__main__":
    main()
