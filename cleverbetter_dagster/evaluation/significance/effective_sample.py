"""How many independent observations there are in rows that share races, and in strategies that resemble each other.

No dependency offers these estimates.
"""

import numpy as np
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.performance import finite_vector
from cleverbetter_dagster.errors import InvalidInput


def intraclass_correlation(values: ArrayLike, group: ArrayLike) -> float | None:
    """Correlation of two values of the same group, by one-way analysis of variance.

    Args:
        values: shape (n,).
        group: of each value, such as its month, shape (n,); groups may differ in size.

    Returns:
        At most 1; below 0 if groups differ by less than chance. None with a single group, without two values in one, or
        if all values are equal. Source: Shrout and Fleiss (1979), ICC(1,1), with the mean
        group size for unequal groups of Donner (1986).
    """
    y = finite_vector(values, "values")
    codes, size = _groups(group, len(y))
    n, k = len(y), len(size)
    if k < 2 or n <= k:
        return None
    mean = np.bincount(codes, y) / size
    between = float(size @ (mean - y.mean()) ** 2) / (k - 1)
    within = float(np.sum((y - mean[codes]) ** 2)) / (n - k)
    usual_size = (n - float(size @ size) / n) / (k - 1)
    total = between + (usual_size - 1) * within
    return (between - within) / total if total > 0 else None


def effective_sample_size(values: ArrayLike, group: ArrayLike) -> float:
    """How many independent values would estimate the mean as well, 1..n, if values of one group resemble each other.

    Each group of m is worth m / (1 + (m - 1) rho), rho being the intraclass correlation, never below 0 here (Kish,
    1965, the design effect, group by group).
    """
    y = finite_vector(values, "values")
    _, size = _groups(group, len(y))
    correlation = intraclass_correlation(y, group)
    if correlation is None:
        correlation = 0.0 if len(size) == len(y) else 1.0  # one group does not show how far groups differ
    return float(np.sum(size / (1.0 + (size - 1.0) * max(correlation, 0.0))))


def independent_strategies(returns: ArrayLike) -> float:
    """How many independent strategies `returns`, shape (periods, strategies), are worth, 1..strategies.

    rho + (1 - rho) x strategies; rho is the mean correlation between two of them, here never below 0. A strategy that
    never varies counts as one. Source: Bailey and Lopez de Prado (2014), "The Deflated Sharpe Ratio", appendix 3.
    """
    table = np.asarray(returns, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise InvalidInput(f"returns of shape {table.shape} must be finite, of shape (periods, strategies), not empty.")
    correlation = max(_mean_correlation(table), 0.0)
    return correlation + (1.0 - correlation) * table.shape[1]


def _mean_correlation(table: FloatArray) -> float:
    spread = table.std(axis=0)
    varies = spread > 1e-12 * np.abs(table).max()
    n = table.shape[1]
    if n < 2 or not varies.any():
        return 0.0
    scaled = (table[:, varies] - table[:, varies].mean(axis=0)) / spread[varies]
    # The correlations sum to the squared row sums: no matrix of all pairs is needed.
    total = float(np.sum(scaled.sum(axis=1) ** 2)) / len(table)
    return (total - int(varies.sum())) / (n * (n - 1))


def _groups(group: ArrayLike, length: int) -> tuple[np.ndarray, np.ndarray]:
    members = np.asarray(group)
    if members.shape != (length,) or not length:
        raise InvalidInput(
            f"{length} values but groups of shape {members.shape}: give one of each per row, at least one."
        )
    _, codes, size = np.unique(members, return_inverse=True, return_counts=True)
    return codes, size.astype(np.float64)
