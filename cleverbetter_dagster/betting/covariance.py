"""How the returns of strategies move together, estimated from few months of many strategies.

The correlation is kept as factors, never as a matrix: with m months its rank beside the diagonal is at most m + 1, so
that thousands of strategies cost little.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.errors import InvalidInput

FEWEST_MONTHS = 12
"""Months in which at least two of the strategies have a return, below which no correlation is estimated."""

_LARGEST_CORRELATION = 0.99


@dataclass(frozen=True, eq=False)
class Correlation:
    """The correlation matrix of n strategies: loadings @ loadings.T + diag(1 - the squared lengths of their rows).

    Attributes:
        loadings: shape (n, factors), rows no longer than 1.
        months: it was estimated from.
    """

    loadings: FloatArray
    months: int

    @property
    def own(self) -> FloatArray:
        """Share of each strategy's variance that is its own, 0..1, shape (n,)."""
        return np.maximum(1.0 - (self.loadings**2).sum(axis=1), 0.0)


def shared_months(returns: ArrayLike) -> int:
    """Months of returns, shape (m, n) with NaN where there is none, in which two strategies or more have one."""
    return int((np.isfinite(np.asarray(returns, dtype=np.float64)).sum(axis=1) > 1).sum())


def shrunk_correlation(returns: ArrayLike) -> Correlation | None:
    """The sample correlation, shrunk toward the mean correlation of all pairs; None with fewer than `FEWEST_MONTHS`.

    The weight of the target is that of Ledoit and Wolf (2004), "Honey, I Shrunk the Sample Covariance Matrix", Journal
    of Portfolio Management 30(4), without the covariance of target and sample, which costs O(n^2) and only lowers it.
    A mean correlation below 0 counts as 0. A return that is missing counts as its strategy's mean, which brings the
    sample correlation of strategies that share few months toward 0. A strategy without two different returns
    correlates with all others by the mean.

    Args:
        returns: by month and strategy, shape (m, n), NaN where a strategy has none.

    Raises:
        InvalidInput: `returns` is not two-dimensional.

    >>> months = np.random.default_rng(0).normal(size=(2000, 3)) + np.random.default_rng(1).normal(size=(2000, 1))
    >>> factors = shrunk_correlation(months).loadings
    >>> (factors @ factors.T).round(1)[0, 1:].tolist()
    [0.5, 0.5]
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2:
        raise InvalidInput(f"returns have shape {values.shape}, must be months by strategies.")
    months = shared_months(values)
    if months < FEWEST_MONTHS:
        return None
    known = np.isfinite(values)
    values = values[known.sum(axis=1) > 1]
    known = np.isfinite(values)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    deviation = np.where(known, values - mean, 0.0)
    length = np.sqrt((deviation**2).sum(axis=0))
    varies = length > 1e-12 * np.abs(mean).clip(1e-12)
    unit = np.divide(deviation, length, out=np.zeros_like(deviation), where=varies)
    mean_correlation, weight = _target(unit[:, varies])
    target = np.where(varies, weight * mean_correlation, mean_correlation)
    loadings = np.column_stack([np.sqrt(target), np.sqrt(1.0 - weight) * unit.T])
    return Correlation(loadings, months)


def _target(unit: FloatArray) -> tuple[float, float]:
    """Mean correlation of all pairs, and its weight, 0..1, from deviations scaled to length 1, shape (m, n)."""
    months, n = unit.shape
    if n < 2:
        return 0.0, 1.0
    pairs = n * (n - 1)
    total = float((unit.sum(axis=1) ** 2).sum()) - n  # of the correlations of all pairs
    mean = min(max(total / pairs, 0.0), _LARGEST_CORRELATION)
    squares = float(((unit @ unit.T) ** 2).sum())  # of all entries of the sample correlation
    scaled = months * unit**2  # squared deviations of variance 1
    noise = float((scaled.sum(axis=1) ** 2 - (scaled**2).sum(axis=1)).sum()) / months - (squares - n)
    distance = squares - n - 2.0 * mean * total + pairs * mean**2
    # A sample correlation of m months scatters as one of m - 1 independent products, since the means are estimated too.
    return mean, min(max(noise / ((months - 1) * distance), 0.0), 1.0) if distance > 1e-12 * pairs else 1.0
