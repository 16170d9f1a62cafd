"""Metrics as functions of month weights: what `Months` linearises and `BlockBootstrap` resamples.

Each function sums the rows by month once; a thousand resamples then cost a few matrix products. A weight is how often a
month was drawn; weights of 1 give the metric of the rows themselves.
"""

import numpy as np
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.performance import MONTHS_PER_YEAR
from cleverbetter_dagster.evaluation.intervals.months import Months, Statistic
from cleverbetter_dagster.evaluation.metrics.calibration_error import equal_mass_bins


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


def calibration_statistic(bootstrap: Months, label: ArrayLike, probability: ArrayLike) -> Statistic:
    """Expected calibration error as a function of month weights, with the bins of all rows."""
    p = np.asarray(probability, dtype=np.float64)
    gap, index = np.asarray(label, dtype=np.float64) - p, equal_mass_bins(p)
    gaps = np.stack([bootstrap.by_month(np.where(index == b, gap, 0.0)) for b in range(index.max() + 1)], axis=1)
    rows = bootstrap.by_month(np.ones(len(p)))

    def statistic(weights: FloatArray) -> FloatArray:
        return _divide(np.abs(weights @ gaps).sum(axis=1), weights @ rows)

    return statistic


def growth_of(monthly: FloatArray) -> FloatArray:
    """Final over initial bankroll, minus 1, of sequences of monthly returns, shape (k, months)."""
    return np.prod(1.0 + monthly, axis=1) - 1.0


def sharpe_ratio_of(monthly: FloatArray) -> FloatArray:
    """Annualised Sharpe ratio of sequences of monthly returns, shape (k, months); NaN without variation."""
    deviation = monthly.std(axis=1, ddof=1) if monthly.shape[1] > 1 else np.zeros(len(monthly))
    return _divide(monthly.mean(axis=1), np.where(deviation > 1e-12, deviation, 0.0)) * np.sqrt(MONTHS_PER_YEAR)


def max_drawdown_of(monthly: FloatArray) -> FloatArray:
    """Largest fall of the bankroll from a peak, 0..1, of sequences of monthly returns, shape (k, months)."""
    curve = np.cumprod(np.hstack([np.ones((len(monthly), 1)), 1.0 + monthly]), axis=1)
    peak = np.maximum.accumulate(curve, axis=1)
    return np.max((peak - curve) / peak, axis=1)


def _divide(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)
