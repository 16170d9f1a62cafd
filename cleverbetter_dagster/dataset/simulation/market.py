"""A simulated market of races: the crowd's beliefs, its prices, and the results.

Every runner belongs to a *cell* by what a strategy can see before the race: odds band, rank in the betting, region,
price movement and liquidity of the race. The crowd makes three mistakes: it bets too much on longshots
(favourite-longshot bias), it misprices whole groups of cells by an amount that changes from month to month, and every
single price has noise. Strategies earn or lose through these mistakes only: no strategy is given an edge.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray

ODDS_EDGES = np.array([2.0, 3.0, 4.5, 7.0, 12.0, 20.0])
RANK_EDGES = np.array([2, 3, 4, 6])
DRIFT_EDGES = np.array([-0.08, 0.08])
CELL_SHAPE = (7, 5, 8, 3, 2)
"""Odds bands, groups of ranks, regions, price movements (shortened, steady, drifted), liquidity."""

RACES_PER_MONTH = 1_300
FEWEST_RUNNERS, MOST_RUNNERS = 6, 12
LEAST_ODDS = 1.01
"""The lowest odds that an exchange accepts."""

_TRUE_EXPONENT = 1.04  # above 1: favourites win more often than the crowd believes
_PRICE_NOISE = 0.10
_PERSISTENCE = 0.93  # of a group's mispricing, from one month to the next
_MEAN_VOLUME = 35_000.0


class _Effect(NamedTuple):
    """Log-odds by which the crowd misprices groups of cells. A group shares the cell's coordinates on `axes`."""

    axes: tuple[int, ...]
    lasting: float
    """Standard deviation between groups of the constant part."""
    drifting: float
    """Standard deviation of the part that follows an AR(1) around 0."""
    fleeting: float
    """Standard deviation of the part that is drawn again every month, so that nobody can learn it."""


_EFFECTS = (
    _Effect((0, 1), 0.07, 0.03, 0.02),
    _Effect((0, 3), 0.09, 0.04, 0.02),
    _Effect((0, 1, 2), 0.16, 0.09, 0.0),
    _Effect((1, 2, 3), 0.16, 0.09, 0.0),
    _Effect((2, 3, 4), 0.10, 0.06, 0.0),
)


@dataclass(frozen=True, eq=False)
class Runners:
    """All runners of one month, races in order of time. Every field has shape (n_runners,)."""

    cell: IntArray
    day: IntArray
    """Day of the month, 0 for the first."""
    belief: FloatArray
    """Win probability that the crowd believes in; sums to 1 over a race."""
    back_odds: FloatArray
    lay_odds: FloatArray
    rank: IntArray
    """Rank in the betting, 1 for the favourite."""
    drift: FloatArray
    """Log change of the odds before the race, negative if they shortened."""
    volume: FloatArray
    """Money matched on the runner."""
    overround: FloatArray
    """Of the race: sum of 1 / back odds over its runners."""
    field_size: IntArray
    won: NDArray[np.bool_]


def mispricing(rng: np.random.Generator, months: int) -> FloatArray:
    """Log-odds by which the runners of each cell are better than believed, shape (months, cells)."""
    total = np.zeros((months, *CELL_SHAPE))
    for effect, source in zip(_EFFECTS, rng.spawn(len(_EFFECTS)), strict=True):
        shape = tuple(size if axis in effect.axes else 1 for axis, size in enumerate(CELL_SHAPE))
        lasting = source.normal(0.0, effect.lasting, shape)
        drifting = source.normal(0.0, effect.drifting, shape)
        for month in range(months):
            total[month] += lasting + drifting + source.normal(0.0, effect.fleeting, shape)
            shock = source.normal(0.0, effect.drifting * np.sqrt(1 - _PERSISTENCE**2), shape)
            drifting = _PERSISTENCE * drifting + shock
    return total.reshape(months, -1)


def race_month(rng: np.random.Generator, mispriced: FloatArray, days: int) -> Runners:
    """Simulate the races of a month.

    Args:
        rng: source of randomness.
        mispriced: one month of `mispricing`, shape (cells,).
        days: length of the month.
    """
    size = rng.integers(FEWEST_RUNNERS, MOST_RUNNERS + 1, RACES_PER_MONTH)
    runs = np.arange(MOST_RUNNERS) < size[:, None]
    belief = softmax(np.where(runs, rng.normal(0.0, 1.0, runs.shape), -np.inf), axis=1)
    race, seat = np.nonzero(runs)
    liquidity = rng.normal(0.0, 0.6, RACES_PER_MONTH)
    overround = 1.012 + 0.012 * np.exp(-liquidity) * rng.uniform(0.5, 1.5, RACES_PER_MONTH)
    region = rng.integers(0, CELL_SHAPE[2], RACES_PER_MONTH)
    rank = (np.argsort(np.argsort(-belief, axis=1), axis=1) + 1)[runs]
    drift = rng.normal(0.0, 0.12, len(race))
    believed = belief[runs]
    back_odds = np.maximum(1.0 / (believed * overround[race]), LEAST_ODDS)
    coordinates = (
        np.searchsorted(ODDS_EDGES, back_odds, side="right"),
        np.searchsorted(RANK_EDGES, rank, side="right"),
        region[race],
        np.searchsorted(DRIFT_EDGES, drift, side="right"),
        (liquidity > 0)[race].astype(np.int64),
    )
    cell = np.ravel_multi_index(coordinates, CELL_SHAPE)
    ability = _TRUE_EXPONENT * np.log(believed) + mispriced[cell] + rng.normal(0.0, _PRICE_NOISE, len(race))
    return Runners(
        cell=cell,
        day=np.sort(rng.integers(0, days, RACES_PER_MONTH))[race],
        belief=believed,
        back_odds=back_odds,
        lay_odds=back_odds * (1.01 + 0.006 * np.exp(-0.5 * liquidity[race]) * np.sqrt(back_odds)),
        rank=rank,
        drift=drift,
        volume=believed * _MEAN_VOLUME * np.exp(liquidity[race]),
        overround=overround[race],
        field_size=size[race],
        won=_winners(rng, ability, runs)[race] == seat,
    )


def _winners(rng: np.random.Generator, ability: FloatArray, runs: NDArray[np.bool_]) -> IntArray:
    """Seat of the winner of each race, drawn with a probability proportional to exp(ability) (Gumbel-max trick)."""
    performance = np.full(runs.shape, -np.inf)
    performance[runs] = ability + rng.gumbel(size=len(ability))
    return np.argmax(performance, axis=1)
