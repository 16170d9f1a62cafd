"""Simulated strategies: each backs or lays the runners of some cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.dataset.simulation.market import CELL_SHAPE

LEAST_SHARE, MOST_SHARE = 0.001, 0.25
"""Smallest and largest share of all runners that a strategy bets on."""

LATE_SHARE, LATEST_START = 0.25, 24
"""Share of the strategies that begin after the first month, and the last month in which one may begin."""

_OPEN = (0.15, 0.5, 0.4, 0.4, 0.6)
"""Probability that a rule leaves an axis of the cell open."""


@dataclass(frozen=True, eq=False)
class Strategies:
    """A set of strategies, n in number."""

    lays: NDArray[np.bool_]
    """True for strategies that bet against their runners, shape (n,)."""
    cells: NDArray[np.bool_]
    """Cells that each strategy bets in, shape (n, cells)."""
    first_month: IntArray
    """Number of the month of the first backtest, shape (n,)."""

    def __len__(self) -> int:
        return len(self.lays)


def draw_strategies(rng: np.random.Generator, count: int, cell_share: FloatArray) -> Strategies:
    """Draw `count` strategies that bet often enough.

    Args:
        rng: source of randomness.
        count: number of strategies.
        cell_share: share of all runners in each cell, shape (cells,).
    """
    accepted: list[NDArray[np.bool_]] = []
    while sum(map(len, accepted)) < count:
        cells = _rules(rng, count)
        share = cells @ cell_share
        accepted.append(cells[(share >= LEAST_SHARE) & (share <= MOST_SHARE)])
    late = rng.random(count) < LATE_SHARE
    return Strategies(
        lays=rng.random(count) < 0.5,
        cells=np.concatenate(accepted)[:count],
        first_month=np.where(late, rng.integers(1, LATEST_START + 1, count), 0),
    )


def _rules(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """Cells of random rules: on each axis some neighbouring groups, often all of them."""
    allowed = np.ones((count, *CELL_SHAPE), dtype=bool)
    for axis, groups in enumerate(CELL_SHAPE):
        width = np.where(rng.random(count) < _OPEN[axis], groups, rng.integers(1, groups // 2 + 1, count))
        low = rng.integers(0, groups - width + 1)
        position = np.arange(groups)
        chosen = (position >= low[:, None]) & (position < (low + width)[:, None])
        shape = [count, *(groups if other == axis else 1 for other in range(len(CELL_SHAPE)))]
        allowed &= chosen.reshape(shape)
    return allowed.reshape(count, -1)
