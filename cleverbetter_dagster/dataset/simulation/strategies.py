"""Simulated strategies: a side of the market, and the cells whose runners it bets on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.dataset.simulation.market import CELL_SHAPE

LEAST_SHARE, MOST_SHARE = 0.001, 0.25
"""Of all runners: what a strategy must at least, and may at most, bet on."""

LATE_SHARE, LATEST_START = 0.25, 24
"""Share of the strategies that begin later than the first month, and the last month in which one may."""

_OPEN = (0.15, 0.5, 0.4, 0.4, 0.6)
"""Chance that a rule leaves an axis of the cell open."""


@dataclass(frozen=True, eq=False)
class Strategies:
    """n strategies."""

    lays: NDArray[np.bool_]
    """Bets against its runners instead of on them, shape (n,)."""
    cells: NDArray[np.bool_]
    """Cells it bets in, shape (n, cells)."""
    first_month: IntArray
    """Month of its first backtest, shape (n,)."""

    def __len__(self) -> int:
        return len(self.lays)


def draw_strategies(rng: np.random.Generator, count: int, cell_share: FloatArray) -> Strategies:
    """Draw `count` strategies that bet often enough.

    Args:
        rng: source of chance.
        count: how many.
        cell_share: share of all runners in each cell, shape (cells,).
    """
    kept: list[NDArray[np.bool_]] = []
    while sum(map(len, kept)) < count:
        cells = _rules(rng, count)
        share = cells @ cell_share
        kept.append(cells[(share >= LEAST_SHARE) & (share <= MOST_SHARE)])
    late = rng.random(count) < LATE_SHARE
    return Strategies(
        lays=rng.random(count) < 0.5,
        cells=np.concatenate(kept)[:count],
        first_month=np.where(late, rng.integers(1, LATEST_START + 1, count), 0),
    )


def _rules(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """Cells of random rules: a run of neighbouring groups on each axis, often all of them."""
    allowed = np.ones((count, *CELL_SHAPE), dtype=bool)
    for axis, groups in enumerate(CELL_SHAPE):
        width = np.where(rng.random(count) < _OPEN[axis], groups, rng.integers(1, groups // 2 + 1, count))
        low = rng.integers(0, groups - width + 1)
        position = np.arange(groups)
        chosen = (position >= low[:, None]) & (position < (low + width)[:, None])
        shape = [count, *(groups if other == axis else 1 for other in range(len(CELL_SHAPE)))]
        allowed &= chosen.reshape(shape)
    return allowed.reshape(count, -1)
