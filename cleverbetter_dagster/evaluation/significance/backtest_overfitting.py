"""How often the best of several alternatives in one half of history is a poor one in the other half.

Combinatorially symmetric cross-validation: history is cut into blocks. Every half of the blocks is once the past, in
which the best alternative is chosen; its rank in the other half is the result. Source: Bailey, Borwein, Lopez de Prado
and Zhu (2015), "The Probability of Backtest Overfitting", Journal of Computational Finance. No dependency offers it.
"""

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.errors import InvalidInput

MOST_BLOCKS = 16
"""12,870 splits, the paper's own choice; more cost much and add little."""


def rank_logits(returns: ArrayLike, blocks: int = 10) -> FloatArray:
    """For each split, the log odds of the chosen alternative's relative rank in the other half, shape (splits,).

    0 is the median, above it is better. The alternative with the highest Sharpe ratio is chosen.

    Args:
        returns: of each alternative in each period, shape (periods, alternatives), in order of time, finite.
        blocks: even, 2..16, at most half the periods, so that each block varies within itself. Blocks differ by one
            period if the number does not divide.

    Raises:
        InvalidInput: fewer than two alternatives, a value is not finite, or the blocks do not fit.
    """
    table = np.asarray(returns, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise InvalidInput(f"returns of shape {table.shape} must be finite, of shape (periods, 2 or more).")
    if blocks % 2 or not 2 <= blocks <= min(MOST_BLOCKS, len(table) // 2):
        raise InvalidInput(
            f"{blocks} blocks of {len(table)} periods: take an even number, 2 to {min(MOST_BLOCKS, len(table) // 2)}."
        )
    half = np.array([np.isin(np.arange(blocks), past) for past in combinations(range(blocks), blocks // 2)])
    past, future = (_sharpe_ratios(table, which, blocks) for which in (half, ~half))
    best = past.argmax(axis=1)[:, None]
    relative = np.take_along_axis(rankdata(future, axis=1), best, axis=1)[:, 0] / (table.shape[1] + 1)
    return np.log(relative / (1.0 - relative))


def overfitting_probability(logits: FloatArray) -> float:
    """Probability of backtest overfitting, 0..1: share of splits whose choice was no better than the median."""
    return float(np.mean(logits <= 1e-12))


def most_blocks(periods: int) -> int:
    """The largest number of blocks `periods` allow, up to ten; 0 if they allow none.

    >>> [most_blocks(periods) for periods in (3, 4, 13, 22, 500)]
    [0, 2, 6, 10, 10]
    """
    return min(10, periods // 2 // 2 * 2)


def _sharpe_ratios(table: FloatArray, which: np.ndarray, blocks: int) -> FloatArray:
    """Of every alternative over the blocks of every split, shape (splits, alternatives); 0 if nothing moved."""
    first = np.array([block[0] for block in np.array_split(np.arange(len(table)), blocks)])
    weight = which.astype(np.float64)
    periods = (weight @ np.diff(np.append(first, len(table))))[:, None]
    mean = weight @ np.add.reduceat(table, first) / periods
    centre = table.mean(axis=0)  # squares of values far from 0 would cancel
    squares = weight @ np.add.reduceat((table - centre) ** 2, first)
    variance = (squares / periods - (mean - centre) ** 2) * periods / (periods - 1)
    spread = np.sqrt(np.maximum(variance, 0.0))
    moved = spread > 1e-12 * np.abs(table).max(initial=0.0)
    sure = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    return np.divide(mean, spread, out=sure, where=moved)
