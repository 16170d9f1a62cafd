"""Figures that are no means: with an interval where one keeps its promise, else with the reason why there is none.

`python -m cleverbetter_dagster_tests.benchmarks.coverage.figures` measures what is promised here.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.performance import max_drawdown
from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec
from cleverbetter_dagster.evaluation.intervals.month_statistics import (
    auc_within_months_statistic,
    have_pairs,
    sharpe_statistic,
)
from cleverbetter_dagster.evaluation.intervals.months import Months
from cleverbetter_dagster.evaluation.metrics.calibration_error import calibration_error
from cleverbetter_dagster.evaluation.metrics.classification import classification_metrics

FEWEST_SHARPE_MONTHS = 12
"""Fewest months for an interval of a Sharpe ratio: on fewer, dependent months do not show how far returns vary."""


def auc_within_months(
    decision_time: pd.DatetimeIndex, label: ArrayLike, score: ArrayLike, spec: IntervalSpec | None = None
) -> Estimate:
    """AUC over pairs of rows of one month (`auc_within_months_statistic`), all of shape (n,).

    Months of one class have no pair; they do not count as months.
    """
    paired = have_pairs(decision_time, label)
    months = Months(decision_time[paired], spec)
    statistic = auc_within_months_statistic(months, np.asarray(label)[paired], np.asarray(score)[paired])
    return months.mean_interval(statistic)


def auc_of_all_rows(label: ArrayLike, score: ArrayLike, level: float) -> Estimate:
    """AUC over all pairs of rows, without an interval.

    It also compares rows of different months. Where the level of the score moves from month to month, its value on
    few months is above that on many, and the months do not show how far.
    """
    auc = classification_metrics(label, score).roc_auc
    reason = "labels all alike" if auc is None else "it also compares rows of different months"
    return Estimate.without(reason, level, auc)


def calibration_estimate(
    decision_time: pd.DatetimeIndex, label: ArrayLike, probability: ArrayLike, level: float
) -> Estimate:
    """`calibration_error` by months, without an interval: none is right at 0, where calibrated models lie."""
    error = calibration_error(label, probability, months_of(decision_time))
    reason = "a single month" if error is None else "a calibrated model lies at 0, its lower bound"
    return Estimate.without(reason, level, error)


def sharpe_interval(months: Months, returns: ArrayLike) -> Estimate:
    """Annualised Sharpe ratio of the returns of `months`, shape (n_months,).

    The interval is that of the mean of the months' influence on the ratio (delta method), so returns may be skewed and
    depend on those before. Source: Lo (2002), "The Statistics of Sharpe Ratios", Financial Analysts Journal 58(4).
    """
    ratio = sharpe_statistic(returns)
    estimate = months.mean_interval(ratio)
    if estimate.point is None or months.n_months >= FEWEST_SHARPE_MONTHS:
        return estimate
    reason = f"{months.n_months} months; a Sharpe ratio needs {FEWEST_SHARPE_MONTHS}"
    return Estimate.without(reason, months.level, estimate.point)


def drawdown_estimate(bankroll: FloatArray, level: float) -> Estimate:
    """Deepest fall of a bankroll from a peak, 0..1, without an interval."""
    return Estimate.without("one history has one deepest fall", level, max_drawdown(bankroll))
