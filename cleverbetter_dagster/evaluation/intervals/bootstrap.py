"""Intervals of statistics that are no means, by resampling whole months.

A resample is a vector of weights, how often each month was drawn; `month_statistics` makes metrics functions of it.
`scipy.stats.bootstrap` draws neither months nor several models at once. Means have better intervals in `months`.
"""

from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import Field
from scipy import special

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec, too_few
from cleverbetter_dagster.evaluation.intervals.months import Months, Statistic


class BootstrapSpec(IntervalSpec):
    """How intervals are made."""

    resamples: int = Field(
        1000, ge=100, le=100_000, description="Resamples drawn for intervals; 100 to 100000, default 1000."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of the resampling; 0 to 4294967295, default 0.")


class BlockBootstrap(Months):
    """The resamples of one set of rows; all models judged on them share these, so that differences are paired.

    Args:
        decision_time: of every row, shape (n,), n >= 1.
        spec: number of resamples, level, seed.
    """

    def __init__(self, decision_time: pd.DatetimeIndex, spec: BootstrapSpec | None = None) -> None:
        self.spec = spec or BootstrapSpec()
        super().__init__(decision_time, self.spec)
        self._resample()

    @classmethod
    def over(cls, block: ArrayLike, spec: BootstrapSpec | None = None) -> Self:
        """Resamples of other blocks than months, such as the strategies of one month: codes, shape (n,), n >= 1.

        A month in this class is then such a block. Strategies share their races, so these intervals are too narrow: use
        them only for a single month.
        """
        bootstrap = cls.__new__(cls)
        bootstrap.spec = spec or BootstrapSpec()
        bootstrap._group(np.asarray(block), bootstrap.spec)
        bootstrap._resample()
        return bootstrap

    def _resample(self) -> None:
        shape = (self.spec.resamples, self.n_months)
        self.draws: IntArray = np.random.default_rng(self.spec.seed).integers(0, self.n_months, size=shape)
        """Months drawn, in order, shape (resamples, n_months)."""
        self.weights = _counts(self.draws, self.n_months)
        """How often each month was drawn, shape (resamples, n_months)."""

    def interval(self, statistic: Statistic) -> Estimate:
        """Interval of a statistic of month weights. There is none on too few months for the level.

        Args:
            statistic: takes weights (k, n_months), gives k values; NaN if a resample does not define it, such as one
                with one class only. Such resamples are left out, unless they are more than half.
        """
        return self.expanded_percentiles(statistic(self.weights), self.point(statistic))

    def expanded_percentiles(self, samples: FloatArray, point: float) -> Estimate:
        """Percentiles further out than the level, by the ratio of Student's t to the normal quantile.

        Plain percentiles are too narrow on few blocks. Source: Hesterberg (2015), "What Teachers Should Know
        About the Bootstrap", The American Statistician 69(4), section 5.3 (expanded percentile interval).
        """
        defined = samples[np.isfinite(samples)]
        n, level = self.n_months, self.level
        if not np.isfinite(point):
            return Estimate.without("not defined on these rows", level)
        reason = too_few(n, level) or ("" if 2 * len(defined) >= len(samples) else "not defined in most resamples")
        if reason:
            return Estimate.without(reason, level, point)
        tail = float(special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - level) / 2)))
        low, high = np.quantile(defined, [tail, 1 - tail])
        # With few months the percentiles of a skewed statistic may miss its own point.
        return Estimate(point=point, low=min(float(low), point), high=max(float(high), point), level=level)


def _counts(draws: IntArray, n_months: int) -> FloatArray:
    resamples = len(draws)
    flat = draws + np.arange(resamples)[:, None] * n_months
    counts = np.bincount(flat.ravel(), minlength=resamples * n_months)
    return counts.reshape(resamples, n_months).astype(np.float64)
