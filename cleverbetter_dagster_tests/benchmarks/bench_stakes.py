"""Stakes under a covariance beside independent ones and the optimum; thousands of strategies; and real rows, jittered.

Cells: 100 strategies, mean .02 a month, equally correlated normal returns. The correlation is estimated from 36 months;
the optimum knows it. Growth is the expected log growth a month to second order, in basis points. Drawdowns are the mean
deepest of ten years at a quarter of Kelly, beside the optimum's at a half.

    python -m cleverbetter_dagster_tests.benchmarks.bench_stakes --quick
    python -m cleverbetter_dagster_tests.benchmarks.bench_stakes --results backtest_results.parquet --json
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import process_time
from typing import Any

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.covariance import Correlation, shrunk_correlation
from cleverbetter_dagster.betting.growth_optimal import allocate_jointly
from cleverbetter_dagster.betting.open_stakes import Windows
from cleverbetter_dagster.betting.performance import bankroll_curve, max_drawdown
from cleverbetter_dagster.betting.staking import StakingSpec, allocate
from cleverbetter_dagster.dataset.labels import windows_of
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import split_examples
from cleverbetter_dagster.evaluation.metrics.allocation import simulate_allocation
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.learning.model import PROBABILITY
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.scored_table import scored_part, staked

CORRELATIONS, DEVIATIONS, SHARES = (0.0, 0.1, 0.3, 0.6), (0.05, 0.2, 0.4), (0.25, 1.0)
STRATEGIES, MEAN, MONTHS, YEARS = 100, 0.02, 36, 10
RESULTS = Path(__file__).parents[3] / "shared" / "data" / "harness_2020_2023" / "backtest_results.parquet"
LONGEST_JITTER_HOURS = 6


def spec_of(share: float) -> StakingSpec:
    return StakingSpec(kelly_fraction=share, max_total_fraction=1.0)


def returns_of(rho: float, deviation: float, months: int, strategies: int, rng: np.random.Generator) -> np.ndarray:
    """Normal returns, shape (months, strategies)."""
    own, common = rng.normal(size=(months, strategies)), rng.normal(size=(months, 1))
    return MEAN + deviation * (np.sqrt(rho) * common + np.sqrt(1.0 - rho) * own)


def cells(repetitions: int) -> Iterator[dict[str, float]]:
    """Growth in every cell, means over the repetitions."""
    for number, (rho, deviation) in enumerate((rho, deviation) for rho in CORRELATIONS for deviation in DEVIATIONS):
        for share in SHARES:
            rng = np.random.default_rng(number)
            runs = [cell(rho, deviation, share, rng) for _ in range(repetitions)]
            figures = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
            yield {"correlation": rho, "deviation": deviation, "kelly_fraction": share, **figures}


def cell(rho: float, deviation: float, share: float, rng: np.random.Generator) -> dict[str, float]:
    """One repetition of a cell."""
    mean, variance = np.full(STRATEGIES, MEAN), np.full(STRATEGIES, deviation**2)
    truth = Correlation(np.full((STRATEGIES, 1), np.sqrt(rho)), MONTHS)
    estimate = shrunk_correlation(returns_of(rho, deviation, MONTHS, STRATEGIES, rng))
    assert estimate is not None
    stakes = {
        "independent": allocate(mean, variance, spec_of(share)),
        "joint": allocate_jointly(mean, variance, estimate, spec_of(share)),
        "optimum": allocate_jointly(mean, variance, truth, spec_of(share)),
    }
    half = allocate_jointly(mean, variance, truth, spec_of(0.5))
    future = returns_of(rho, deviation, 12 * YEARS, STRATEGIES, rng)

    def growth(stake: np.ndarray) -> float:
        risk = deviation**2 * (rho * stake.sum() ** 2 + (1.0 - rho) * (stake**2).sum())
        return float(1e4 * (MEAN * stake.sum() - (risk + (MEAN * stake.sum()) ** 2) / 2.0))

    figures = {f"growth_{name}": growth(stake) for name, stake in stakes.items()}
    figures |= {f"staked_{name}": float(stake.sum()) for name, stake in stakes.items()}
    figures |= {f"drawdown_{name}": drawdown(stake, future) for name, stake in stakes.items()}
    return figures | {"drawdown_half_kelly": drawdown(half, future)}


def drawdown(stake: np.ndarray, future: np.ndarray) -> float:
    """Deepest drawdown over the future months, rebalanced every month."""
    return max_drawdown(bankroll_curve(future @ stake))


def size_figures(strategies: int = 5000) -> dict[str, float]:
    """CPU seconds of thousands of strategies, against independent stakes, and the memory of the whole process."""
    rng = np.random.default_rng(0)
    returns = returns_of(0.2, 0.2, 47, strategies, rng)
    mean, variance = rng.normal(MEAN, 0.01, strategies).clip(1e-4), rng.uniform(0.01, 0.1, strategies)
    allocate_jointly(mean[:9], variance[:9], Correlation(np.zeros((9, 1)), 12))  # imports
    started = process_time()
    estimate = shrunk_correlation(returns)
    assert estimate is not None
    allocate_jointly(mean, variance, estimate)
    joint, started = process_time() - started, process_time()
    allocate(mean, variance)
    alone = process_time() - started
    memory = getrusage(RUSAGE_SELF).ru_maxrss / 1e6
    return {"strategies": strategies, "seconds": joint, "times_independent": joint / alone, "gigabytes": memory}


def real_figures(results: Path) -> Iterator[dict[str, Any]]:
    """Growth, drawdown and open stakes on the last fifth of real rows, with their end dates and with jittered ones."""
    rows = pd.read_parquet(results).rename(columns={"total_return": "roi"})
    jitter = np.random.default_rng(0).uniform(0, LONGEST_JITTER_HOURS * 3600, len(rows))
    moved = rows.assign(end_date=rows["end_date"] - pd.to_timedelta(jitter, unit="s"))
    for ends, frame in (("as they are", rows), (f"up to {LONGEST_JITTER_HOURS} h earlier", moved)):
        dataset = DatasetSpec(min_composite_score=None, min_examples=1)
        panel = build_panel(frame, None, dataset)
        parts, test = split_examples(panel, dataset), split_examples(panel, dataset).test.frame
        for name, baseline in BASELINES.items():
            scores = pd.DataFrame({PROBABILITY: baseline.fit(parts.past).predict_proba(test)[:, 1]}, index=test.index)
            for way, returns in (("independent", None), ("joint", PastReturns.of(panel))):
                stake = staked([scored_part(name, test, scores, StakingSpec(), returns=returns)])["stake"]
                yield {"ends": ends, "model": name, "stakes": way} | earned(windows_of(test), stake, test["next_roi"])
            exact = by_exact_time(scored_part(name, test, scores, StakingSpec()).sizing, windows_of(test))
            yield {"ends": ends, "model": name, "stakes": "by exact time"} | exact_figures(
                windows_of(test), exact, test["next_roi"].to_numpy()
            )


def earned(windows: Windows, stake: pd.Series, roi: pd.Series) -> dict[str, float]:
    result = simulate_allocation(windows, stake, roi)
    return {
        "growth": result.growth,
        "drawdown": result.metrics.max_drawdown,
        "most_open": float(result.open_fraction.max()),
    }


def by_exact_time(sizing: Any, windows: Windows) -> np.ndarray:
    """Stakes as they were before: the bound holds for equal decision times only."""
    stake = np.zeros(len(windows))
    for time in np.unique(windows.decided):
        rows = np.flatnonzero(windows.decided == time)
        stake[rows] = sizing.size(rows)
    return stake


def exact_figures(windows: Windows, stake: np.ndarray, roi: np.ndarray) -> dict[str, float]:
    """What was counted before: every decision time settled at once; and what was open in truth, of its bankroll."""
    _, time = np.unique(windows.decided, return_inverse=True)
    curve = bankroll_curve(np.maximum(np.bincount(time, stake * roi), -1.0))
    opened = [stake[(windows.decided <= now) & (windows.closes > now)].sum() for now in np.unique(windows.decided)]
    return {"growth": float(curve[-1] - 1.0), "drawdown": max_drawdown(curve), "most_open": float(max(opened))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 repetitions of each cell instead of 40")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--results", type=Path, default=RESULTS, help="real rows: the table's columns, as Parquet")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {
        "cells": list(cells(5 if options.quick else 40)),
        "size": size_figures(),
        "real": list(real_figures(options.results)) if options.results.exists() else [],
    }
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    for name in ("cells", "real"):
        print(pd.DataFrame(figures[name]).round(4).to_string(index=False) if figures[name] else "")
    print(json.dumps(figures["size"]))
    if not figures["real"]:
        print(f"Real rows are left out: there is no file {options.results}. Name one by --results.", file=sys.stderr)


if __name__ == "__main__":
    main()
