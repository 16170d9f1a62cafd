"""Metrics as functions of month weights: what `Months` linearises and `BlockBootstrap` resamples.

Each function sums the rows by month once; a thousand resamples then cost a few matrix products. A weight is how often a
month was drawn; weights of 1 give the metric of the rows themselves.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.performance import MONTHS_PER_YEAR
from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.evaluation.intervals.months import Months, Statistic


def mean_statistic(bootstrap: Months, values: ArrayLike) -> Statistic:
    """The mean of `values` (n,) as a function of month weights."""
    return ratio_statistic(bootstrap, values, np.ones(len(bootstrap.month)))


def ratio_statistic(bootstrap: Months, numerator: ArrayLike, denominator: ArrayLike) -> Statistic:
    """sum(numerator) / sum(denominator) as a function of month weights; NaN if the denominator is 0."""
    top, bottom = bootstrap.by_month(numerator), bootstrap.by_month(denominator)

    def statistic(weights: FloatArray) -> FloatArray:
        return _divide(weights @ top, weights @ bottom)

    return statistic


def auc_statistic(bootstrap: Months, label: ArrayLike, score: ArrayLike, among: ArrayLike | None = None) -> Statistic:
    """ROC AUC as a function of month weights; NaN if a resample has one class only.

    Rows not `among` (bool, shape (n,); by default all are) are left out.

    AUC is the share of pairs of a positive and a negative row in the right order; ties count half. With such counts U
    for every pair of months, the count of a resample with weights w is w U w.
    """
    y, s = np.asarray(label) == 1, np.asarray(score, dtype=np.float64)
    counts = np.ones(len(y), dtype=bool) if among is None else np.asarray(among, dtype=bool)
    positive, others = y & counts, ~y & counts
    months = range(bootstrap.n_months)
    pairs = np.empty((bootstrap.n_months, bootstrap.n_months))
    for other in months:
        negative = np.sort(s[others & (bootstrap.month == other)])
        below = np.searchsorted(negative, s, "left") + np.searchsorted(negative, s, "right")
        pairs[:, other] = bootstrap.by_month(np.where(positive, below / 2.0, 0.0))
    positives, negatives = bootstrap.by_month(positive), bootstrap.by_month(others)

    def statistic(weights: FloatArray) -> FloatArray:
        ordered = np.einsum("rm,rm->r", weights @ pairs, weights)
        return _divide(ordered, (weights @ positives) * (weights @ negatives))

    return statistic


def have_pairs(decision_time: pd.DatetimeIndex, label: ArrayLike) -> NDArray[np.bool_]:
    """Which rows lie in a month with both classes, shape (n,): the others are in no pair of an AUC within months."""
    y = np.asarray(label) == 1
    _, month = np.unique(months_of(decision_time), return_inverse=True)
    positives, rows = np.bincount(month, y), np.bincount(month)
    return ((positives > 0) & (positives < rows))[month]


def auc_within_months_statistic(
    months: Months, label: ArrayLike, score: ArrayLike, among: ArrayLike | None = None
) -> Statistic:
    """AUC within months as a function of month weights; NaN if no month with weight has both classes.

    It is the share of pairs of a positive and a negative row of one month in the right order; ties count half. Months
    count by their pairs, so it is a ratio of sums. Strategies are chosen among those of one month, so this is the order
    that matters. The AUC of all rows also compares rows of different months: where the level of the score moves, it is
    higher on few months than on many, because they hold fewer such pairs, and interval and truth would miss each other.

    Rows not `among` (bool, shape (n,); by default all are) are left out.
    """
    y, s = np.asarray(label) == 1, np.asarray(score, dtype=np.float64)
    counts = np.ones(len(y), dtype=bool) if among is None else np.asarray(among, dtype=bool)
    ordered, pairs = np.zeros(months.n_months), np.zeros(months.n_months)
    for month in range(months.n_months):
        rows = counts & (months.month == month)
        positive, negative = s[rows & y], np.sort(s[rows & ~y])
        below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
        ordered[month], pairs[month] = below.sum() / 2.0, len(positive) * len(negative)

    def statistic(weights: FloatArray) -> FloatArray:
        return _divide(weights @ ordered, weights @ pairs)

    return statistic


def sharpe_statistic(returns: ArrayLike) -> Statistic:
    """Annualised Sharpe ratio of monthly returns, shape (n_months,), as a function of month weights.

    Standard deviation with n - 1. NaN without variation.
    """
    values = np.asarray(returns, dtype=np.float64)
    largest = float(np.abs(values).max())
    scaled, correction = values / (largest or 1.0), len(values) / max(len(values) - 1, 1)

    def statistic(weights: FloatArray) -> FloatArray:
        total = weights.sum(axis=1)
        mean = weights @ scaled / total
        variance = correction * np.maximum(weights @ scaled**2 / total - mean**2, 0.0)
        return _divide(mean, np.where(variance > 1e-24, np.sqrt(variance), 0.0)) * np.sqrt(MONTHS_PER_YEAR)

    return statistic


def max_drawdown_of(monthly: FloatArray) -> FloatArray:
    """Largest fall of the bankroll from a peak, 0..1, of sequences of monthly returns, shape (k, months)."""
    curve = np.cumprod(np.hstack([np.ones((len(monthly), 1)), 1.0 + monthly]), axis=1)
    peak = np.maximum.accumulate(curve, axis=1)
    return np.max((peak - curve) / peak, axis=1)


def _divide(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)
