"""Intervals by resampling whole months.

Rows decided in one month share their races, and a strategy's rows resemble each other: drawing single rows would
overstate the evidence by far. So whole months are drawn. A resample is a vector of weights, how often each month was
drawn; `month_statistics` makes metrics functions of it. `scipy.stats.bootstrap` draws neither blocks nor several models
at once.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field
from scipy import special

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.errors import InvalidInput

Statistic = Callable[[FloatArray], FloatArray]
"""From k resamples, shape (k, n_months), to k values."""


class BootstrapSpec(BaseModel):
    """How intervals are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resamples: int = Field(1000, ge=100, description="Resamples drawn for intervals; at least 100, default 1000.")
    level: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Share of repetitions in which an interval covers the true value; between 0.5 and 1, default 0.95.",
    )
    seed: int = Field(0, ge=0, description="Seed of the resampling; at least 0, default 0.")
    block_months: int = Field(
        1,
        ge=1,
        description="Neighbouring months drawn together (circular); at least 1, default 1. Take more if months depend "
        "on the months before.",
    )


class Interval(BaseModel):
    """An estimate with an interval that covers the truth in a share `level` of repetitions."""

    model_config = ConfigDict(frozen=True)

    point: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"{self.point:.4f} [{self.low:.4f}, {self.high:.4f}]"


class BlockBootstrap:
    """The resamples of one set of rows; all models judged on them share these, so that differences are paired.

    Args:
        decision_time: of every row, shape (n,), n >= 1.
        spec: number of resamples, level, seed, block length.
    """

    def __init__(self, decision_time: pd.DatetimeIndex, spec: BootstrapSpec | None = None) -> None:
        self._resample(months_of(decision_time), spec)

    @classmethod
    def over(cls, block: ArrayLike, spec: BootstrapSpec | None = None) -> Self:
        """Resamples of other blocks than months, such as the strategies of one month: codes, shape (n,), n >= 1.

        A month in this class is then such a block. Strategies share their races, so these intervals are too narrow: use
        them only for a single month.
        """
        bootstrap = cls.__new__(cls)
        bootstrap._resample(np.asarray(block), spec)
        return bootstrap

    def _resample(self, block: np.ndarray, spec: BootstrapSpec | None) -> None:
        self.spec = spec or BootstrapSpec()
        unique, self.month = np.unique(block, return_inverse=True)
        self.n_months = len(unique)
        self.draws = _draw_months(self.n_months, self.spec)
        """Months drawn, in order, shape (resamples, n_months)."""
        self.weights = _counts(self.draws, self.n_months)
        """How often each month was drawn, shape (resamples, n_months)."""

    def by_month(self, values: ArrayLike) -> FloatArray:
        """Sums of `values` (n,) by month, shape (n_months,)."""
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(self.month, weights, self.n_months).astype(np.float64, copy=False)

    def interval(self, statistic: Statistic) -> Interval | None:
        """Interval of a statistic of month weights.

        Args:
            statistic: takes weights (k, n_months), gives k values; NaN if a resample does not define it, such as one
                with one class only. Such resamples are left out.

        Returns:
            None with a single month, or if the rows or more than half the resamples do not define it.
        """
        point = float(statistic(np.ones((1, self.n_months)))[0])
        return self.expanded_percentiles(statistic(self.weights), point)

    def interval_of_sequence(self, statistic: Statistic, monthly: FloatArray) -> Interval | None:
        """Like `interval`, of a statistic of resampled sequences of monthly values, shape (k, n_months)."""
        point = float(statistic(monthly[None, :])[0])
        return self.expanded_percentiles(statistic(monthly[self.draws]), point)

    def expanded_percentiles(self, samples: FloatArray, point: float) -> Interval | None:
        """Percentiles further out than the level, by the ratio of Student's t to the normal quantile.

        Plain percentiles are too narrow on few blocks. Source: Hesterberg (2015), "What Teachers Should Know
        About the Bootstrap", The American Statistician 69(4), section 5.3 (expanded percentile interval).
        """
        defined = samples[np.isfinite(samples)]
        n, level = self.n_months, self.spec.level
        if n < 2 or not np.isfinite(point) or 2 * len(defined) < len(samples):
            return None
        tail = float(special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - level) / 2)))
        low, high = np.quantile(defined, [tail, 1 - tail])
        # With few months the percentiles of a skewed statistic may miss its own point.
        return Interval(point=point, low=min(float(low), point), high=max(float(high), point), level=level)


def _draw_months(n_months: int, spec: BootstrapSpec) -> IntArray:
    """Circular block bootstrap. Source: Politis and Romano (1992)."""
    if spec.block_months > n_months:
        raise InvalidInput(f"block_months is {spec.block_months} but there are {n_months} months: choose fewer.")
    rng = np.random.default_rng(spec.seed)
    n_blocks = -(-n_months // spec.block_months)
    starts = rng.integers(0, n_months, size=(spec.resamples, n_blocks))
    months = (starts[:, :, None] + np.arange(spec.block_months)) % n_months
    return months.reshape(spec.resamples, -1)[:, :n_months]


def _counts(draws: IntArray, n_months: int) -> FloatArray:
    resamples = len(draws)
    flat = draws + np.arange(resamples)[:, None] * n_months
    counts = np.bincount(flat.ravel(), minlength=resamples * n_months)
    return counts.reshape(resamples, n_months).astype(np.float64)
