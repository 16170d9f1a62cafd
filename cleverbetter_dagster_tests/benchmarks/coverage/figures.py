"""Coverage of the figures that are no means, by simulation with a known truth.

    python -m cleverbetter_dagster_tests.benchmarks.coverage.figures           # minutes; --quick: seconds

A cell is the share of repetitions whose 95% interval holds the truth, for so many months that depend on each other as
its shape says (`dependent_months`). Beside it stands that of the method without regard to months, `before`:

- AUC within months: 100 rows a month; the score's level, the skill and the share of positives move from month to
  month. Before: all rows, months resampled, against the AUC of all rows of endless months.
- Sharpe ratio: monthly returns of a yearly ratio of 1. Before: Mertens' (2002) error for independent returns.
- Reliability: 400 rows a month of a calibrated model, with luck that a month shares; the share of bins within the band.
  Before: the band of independent rows.
- Calibration error: of the same model, whose error is 0: the mean root of the estimate. Before: the mean absolute gap.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import special

from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap
from cleverbetter_dagster.evaluation.intervals.figures import (
    FEWEST_SHARPE_MONTHS,
    auc_within_months,
    sharpe_interval,
)
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic
from cleverbetter_dagster.evaluation.intervals.months import Months
from cleverbetter_dagster.evaluation.metrics.calibration_error import (
    calibrated_deviation,
    calibration_error,
    reliability_curve,
)
from cleverbetter_dagster.evaluation.significance.sharpe_ratio import sharpe_estimate
from cleverbetter_dagster_tests.evaluation.dependent_months import SHAPES, dependent_months
from cleverbetter_dagster_tests.evaluation.scored import decision_months

MONTHS = (6, 9, 12, 24)
SKILL, SKILL_SPREAD, LEVEL_SPREAD, CLASS_SPREAD = 1.0, 0.3, 1.0, 0.4
ROWS_OF_AUC, ROWS_OF_BAND, LUCK = 100, 400, 0.3
MONTHLY_SHARPE = 1.0 / np.sqrt(12.0)
LOGISTIC_TO_PROBIT = 0.346
"""E[expit(x + z s)] is about expit(x / sqrt(1 + 0.346 s^2)) for a standard normal z (MacKay, 1992)."""


@dataclass(frozen=True)
class Cell:
    """One figure in one situation.

    Attributes:
        now: share of repetitions whose interval holds the truth, 0..1; of the calibration error its mean.
        before: the same of the method before.
    """

    figure: str
    shape: str
    months: int
    now: float
    before: float


def auc_cell(shape: str, n_months: int, repeats: int, seed: int) -> Cell:
    """Coverage of the AUC within months."""
    rng, decided = np.random.default_rng(seed), decision_months(n_months, ROWS_OF_AUC)
    moves = dependent_months(shape, n_months, 3 * repeats, rng).reshape(repeats, 3, n_months)
    within, of_all = _true_aucs()
    bootstrap, hits, before = BlockBootstrap(decided), 0, 0
    for level, skill, share in moves:
        label, score = _ranked(rng, level, skill, share)
        estimate = auc_within_months(decided, label, score)
        hits += _holds(estimate.ends, within)
        before += _holds(bootstrap.interval(auc_statistic(bootstrap, label, score)).ends, of_all)
    return Cell("AUC, coverage", shape, n_months, hits / repeats, before / repeats)


def sharpe_cell(shape: str, n_months: int, repeats: int, seed: int) -> Cell:
    """Coverage of the Sharpe ratio."""
    returns = MONTHLY_SHARPE + dependent_months(shape, n_months, repeats, np.random.default_rng(seed))
    months, truth = Months(decision_months(n_months, 1)), MONTHLY_SHARPE * np.sqrt(12.0)
    hits = sum(_holds(sharpe_interval(months, row).ends, truth) for row in returns)
    estimates = [sharpe_estimate(row) for row in returns]
    reach = -special.stdtrit(n_months - 1, 0.025)
    before = np.mean([abs(one.ratio - MONTHLY_SHARPE) <= reach * one.standard_error for one in estimates if one])
    return Cell("Sharpe ratio, coverage", shape, n_months, hits / repeats, float(before))


def band_cell(shape: str, n_months: int, repeats: int, seed: int) -> Cell:
    """Share of the points of a calibrated model that lie in the band of the reliability chart."""
    inside, before = [], []
    for label, probability, month in _calibrated(shape, n_months, repeats, seed):
        curve = reliability_curve(label, probability)
        gap = np.abs(curve.observed - curve.mean_probability)
        inside.append(np.mean(gap <= 1.96 * calibrated_deviation(label, probability, month)))
        coins = np.sqrt(curve.mean_probability * (1 - curve.mean_probability) / curve.count)
        before.append(np.mean(gap <= 1.96 * coins))
    return Cell("reliability, coverage", shape, n_months, float(np.mean(inside)), float(np.mean(before)))


def calibration_cell(shape: str, n_months: int, repeats: int, seed: int) -> Cell:
    """Mean calibration error of a calibrated model."""
    errors, before = [], []
    for label, probability, month in _calibrated(shape, n_months, repeats, seed):
        curve = reliability_curve(label, probability)
        errors.append(calibration_error(label, probability, month) or 0.0)
        before.append(np.average(np.abs(curve.observed - curve.mean_probability), weights=curve.count))
    return Cell("calibration error of 0, mean", shape, n_months, float(np.mean(errors)), float(np.mean(before)))


def cells(*, quick: bool = False) -> list[Cell]:
    """Every cell; `quick` draws few repetitions."""
    few, many = (60, 200) if quick else (600, 3_000)
    situations = [(shape, n_months) for shape in SHAPES for n_months in MONTHS]
    found = [auc_cell(shape, n_months, few, 0) for shape, n_months in situations]
    found += [sharpe_cell(*one, many, 0) for one in situations if one[1] >= FEWEST_SHARPE_MONTHS]
    found += [band_cell(shape, n_months, few // 3, 0) for shape, n_months in situations]
    return found + [calibration_cell(shape, n_months, few // 3, 0) for shape, n_months in situations]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions: seconds, and coverage to 0.05")
    parser.add_argument("--json", action="store_true", help="print the cells as JSON")
    options = parser.parse_args(arguments)
    found = cells(quick=options.quick)
    if options.json:
        print(json.dumps([asdict(cell) for cell in found]))
        return
    table = Table("figure", "months depend as", "months", "before", "now")
    for cell in found:
        table.add_row(cell.figure, cell.shape, str(cell.months), f"{cell.before:.3f}", f"{cell.now:.3f}")
    Console().print(table)


def _ranked(
    rng: np.random.Generator, level: np.ndarray, skill: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of months that differ in level, skill and share of positives, each of shape (n_months,)."""
    month = np.repeat(np.arange(len(level)), ROWS_OF_AUC)
    label = rng.random(len(month)) < special.expit(-0.7 + CLASS_SPREAD * share[month])
    apart = SKILL + SKILL_SPREAD * skill[month]
    return label, apart * label + LEVEL_SPREAD * level[month] + rng.normal(size=len(month))


@cache
def _true_aucs() -> tuple[float, float]:
    """AUC within months and of all rows, of endless months, whatever their dependence."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    skill = SKILL + SKILL_SPREAD * nodes  # independent of the number of pairs
    within, between = np.sqrt(2.0), np.sqrt(2.0 + 2.0 * LEVEL_SPREAD**2)
    return float(weights @ special.ndtr(skill / within)), float(weights @ special.ndtr(skill / between))


def _calibrated(shape: str, n_months: int, repeats: int, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Labels, probabilities and months of rows."""
    rng, month = np.random.default_rng(seed), np.repeat(np.arange(n_months), ROWS_OF_BAND)
    for luck in dependent_months(shape, n_months, repeats, rng):
        logit = rng.normal(-0.7, 1.0, len(month))
        probability = special.expit(logit / np.sqrt(1.0 + LOGISTIC_TO_PROBIT * LUCK**2))
        yield rng.random(len(month)) < special.expit(logit + LUCK * luck[month]), probability, month


def _holds(ends: tuple[float, float] | None, truth: float) -> bool:
    return ends is not None and ends[0] <= truth <= ends[1]


if __name__ == "__main__":
    main()
