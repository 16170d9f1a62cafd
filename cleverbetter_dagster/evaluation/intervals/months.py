"""Intervals of means over months that depend on the months before.

Rows decided in one month share their races, and a strategy's rows resemble each other, so a month is one observation.
Neighbouring months resemble each other too: windows overlap, markets stay. A mean, a ratio of sums and a difference of
such are one mean over months to first order; its variance is estimated from the slower movements of the months, which
a serial correlation inflates as it inflates the variance of the mean. `bootstrap` makes intervals of what is no mean.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict
from scipy import special

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec, too_few

Statistic = Callable[[FloatArray], FloatArray]
"""From k vectors of month weights, shape (k, n_months), to k values."""

FEW_MONTHS, MOST_SEEN, LEAST_SEEN, MANY_MONTHS = 3.6, 1.0, 0.65, 11
"""How far the critical value goes beyond Student's t, see `_widening`: chosen by simulation at a level of 95%."""

FEWEST_FOR_CORRELATION = 5

STEP = 1e-5
"""Change of a weight by which the influence of a month is measured."""


class Dependence(BaseModel):
    """How alike neighbouring months are, estimated from as few months as there are: a rough guide.

    Attributes:
        serial_correlation: of a month's value and the one before, corrected for its bias on few months; -1..1.
        independent_months: number of independent months that would give as sure a mean, by an AR(1) of it.
    """

    model_config = ConfigDict(frozen=True)

    serial_correlation: float
    independent_months: float


class Months:
    """The months of one set of rows.

    Args:
        decision_time: of every row, shape (n,), n >= 1.
        spec: level of the intervals.
    """

    def __init__(self, decision_time: pd.DatetimeIndex, spec: IntervalSpec | None = None) -> None:
        self._group(months_of(decision_time), spec or IntervalSpec())

    def _group(self, block: np.ndarray, spec: IntervalSpec) -> Self:
        self.level = spec.level
        unique, self.month = np.unique(block, return_inverse=True)
        self.n_months = len(unique)
        return self

    def by_month(self, values: ArrayLike) -> FloatArray:
        """Sums of `values` (n,) by month, shape (n_months,)."""
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(self.month, weights, self.n_months).astype(np.float64, copy=False)

    def point(self, statistic: Statistic) -> float:
        """The statistic of the rows themselves."""
        return float(statistic(np.ones((1, self.n_months)))[0])

    def influence(self, statistic: Statistic) -> FloatArray:
        """By how much each month moves a smooth statistic, times the number of months, shape (n_months,).

        To first order the error of the statistic is the mean of these. Source: Efron (1982), "The Jackknife, the
        Bootstrap and Other Resampling Plans", chapter 6 (infinitesimal jackknife).
        """
        change = STEP * np.eye(self.n_months)
        return (statistic(1.0 + change) - statistic(1.0 - change)) * self.n_months / (2.0 * STEP)

    def mean_interval(self, statistic: Statistic) -> Estimate:
        """Interval of a mean, a ratio of sums, or another smooth function of month weights.

        Months without a row are skipped, and months whose rows have no weight in a ratio count as values of 0: give
        such a ratio the rows with weight only.
        """
        point = self.point(statistic)
        if not np.isfinite(point):
            return Estimate.without("not defined on these rows", self.level)
        reason = too_few(self.n_months, self.level)
        if reason:
            return Estimate.without(reason, self.level, point)
        return mean_interval(self.influence(statistic) + point, self.level)

    def dependence(self, statistic: Statistic) -> Dependence | None:
        """How alike neighbouring months are; None on fewer than five, or if they do not vary."""
        return serial_dependence(self.influence(statistic)) if self.n_months >= FEWEST_FOR_CORRELATION else None


def mean_interval(monthly: ArrayLike, level: float, variance: float = 0.0) -> Estimate:
    """Interval of the mean of monthly values that depend on the values before.

    The long-run variance is the mean of the squared coefficients of the slower half of the cosines, and the mean over
    its standard error is compared with Student's t of as many degrees of freedom. Source: Lazarus, Lewis, Stock and
    Watson (2018), "HAR Inference: Recommendations for Practice", Journal of Business & Economic Statistics 36(4). On
    few months so many cosines are too hopeful where months depend on each other, so the critical value is larger by
    `_widening`. At 95% it covers the truth in 92 to 97% of repetitions, from 6 to 24 months, independent or up to an
    AR(1) of 0.6: `python -m cleverbetter_dagster_tests.benchmarks.bench_coverage`.

    Args:
        monthly: in order of time, shape (n,).
        level: of the interval, 0.5..1.
        variance: further variance of the mean, that months do not show, such as that between seeds.

    >>> print(mean_interval([0.2, 0.1, 0.3, 0.2, 0.1, 0.3], 0.95))
    0.2000 [0.1211, 0.2789]
    >>> print(mean_interval([0.2, 0.1], 0.95))
    0.1500 (no interval: 2 months; 95% needs 6)
    """
    values = np.asarray(monthly, dtype=np.float64)
    point = float(values.mean())
    reason = too_few(len(values), level) or ("" if np.isfinite(point) else "not defined on these rows")
    if reason:
        return Estimate.without(reason, level, point)
    cosines = len(values) // 2
    error = _widening(values) * np.sqrt(_long_run_variance(values, cosines) / len(values))
    reach = float(-special.stdtrit(cosines, (1.0 - level) / 2.0) * np.hypot(error, np.sqrt(variance)))
    return Estimate(point=point, low=point - reach, high=point + reach, level=level)


def growth_interval(returns: ArrayLike, level: float, variance: float = 0.0) -> Estimate:
    """Growth of the bankroll over a sequence of monthly returns, shape (n,): final over initial, minus 1.

    Its interval is that of n months at the mean log growth of a month, which is a mean. There is none after ruin.

    Args:
        returns: >= -1, in order of time.
        level, variance: as in `mean_interval`; the variance is that of the mean log growth.
    """
    values = np.asarray(returns, dtype=np.float64)
    growth = float(np.prod(1.0 + values) - 1.0)
    if np.any(values <= -1.0):
        return Estimate.without("the bankroll was lost", level, growth)
    mean = mean_interval(np.log1p(values), level, variance)
    if mean.ends is None:
        return Estimate.without(mean.reason, level, growth)
    low, high = np.expm1(len(values) * np.array(mean.ends))
    return Estimate(point=growth, low=float(low), high=float(high), level=level)


def serial_dependence(monthly: ArrayLike) -> Dependence | None:
    """How alike neighbouring values are; None on fewer than five, or if they do not vary.

    The correlation is corrected for its bias of -(1 + 3 r) / n. Source: Marriott and Pope (1954), "Bias in the
    Estimation of Autocorrelations", Biometrika 41. A negative one counts as 0 for the number of independent months.
    """
    x = np.asarray(monthly, dtype=np.float64)
    n, biased = len(x), _correlation(x)
    if n < FEWEST_FOR_CORRELATION or biased is None:
        return None
    correlation = float(np.clip((n * biased + 1.0) / (n - 3.0), -0.95, 0.95))
    lags = np.arange(1, n)
    inflation = 1.0 + 2.0 * float(np.sum((1.0 - lags / n) * max(correlation, 0.0) ** lags))
    return Dependence(serial_correlation=correlation, independent_months=n / inflation)


def _correlation(values: FloatArray) -> float | None:
    """Serial correlation of neighbours, not corrected; None if the values do not vary."""
    deviation = values - values.mean()
    total = float(deviation @ deviation)
    if total <= 1e-24 * float(values @ values) + 1e-300:
        return None
    return float(deviation[1:] @ deviation[:-1]) / total


def _widening(values: FloatArray) -> float:
    """Factor on the critical value: (1 + 3.6 / (n - 2)) e^(a r) with the serial correlation r of the values.

    a is 1 up to 11 values and falls to 0.65 as sqrt(11 / n): where the slow cosines see the dependence themselves.
    """
    n, correlation = len(values), _correlation(values) or 0.0
    seen = min(MOST_SEEN, max(LEAST_SEEN, np.sqrt(MANY_MONTHS / n)))
    return float((1.0 + FEW_MONTHS / (n - 2)) * np.exp(seen * correlation))


def _long_run_variance(values: FloatArray, cosines: int) -> float:
    n = len(values)
    phase = np.pi * (np.arange(n) + 0.5) / n
    coefficients = np.sqrt(2.0 / n) * np.cos(np.outer(np.arange(1, cosines + 1), phase)) @ values
    return float(np.mean(coefficients**2))
