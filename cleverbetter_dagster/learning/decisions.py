"""What a betting agent decides about: rows in order of time, each with what is known then and what comes after.

Here live the menu of stakes (`STEPS`, `KellyMenu`) and the arrays a betting world is played on (`Decisions`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.segments import FloatArray, IntArray
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import InvalidInput

STEPS = 11
"""Choices of an agent: 0, 10, ..., 100% of the full Kelly stake."""

_BISECTIONS = 60  # to the last bit of a hurdle


def fraction_of(step: IntArray) -> FloatArray:
    """Share of the full Kelly stake that a step stands for.

    >>> fraction_of(np.array([0, 3, 10])).tolist()
    [0.0, 0.3, 1.0]
    """
    return step / (STEPS - 1)


@dataclass(frozen=True)
class KellyMenu:
    """The full Kelly stake of a row, from the row alone: capped, and net of a hurdle.

    The bankroll is scarce: `betting.staking.allocate` reduces every mean by the price at which the stakes of one
    decision time add up to the bound. A row cannot see its neighbours, so it pays the price that was usual in the
    past, the hurdle; whoever stakes many rows at once bounds their sum besides.
    """

    staking: StakingSpec
    hurdle: float

    @classmethod
    def fit(cls, mean: FloatArray, variance: FloatArray, periods: int, staking: StakingSpec) -> "KellyMenu":
        """The lowest hurdle at which full stakes are within the total bound, on average over `periods` times.

        Args:
            mean: expected next return of past rows, [n].
            variance: of that return, [n].
            periods: distinct decision times among the rows, >= 1.
            staking: the bounds; its Kelly fraction is not used, the agent chooses that.
        """
        everyone, one_group = np.ones(len(mean)), np.zeros(len(mean), dtype=np.int64)
        bound = staking.max_total_fraction * periods
        return cls(staking, float(_price(everyone, (mean, variance), one_group, staking, bound)[0]))

    @property
    def without_hurdle(self) -> "KellyMenu":
        """The same menu where the bankroll costs nothing."""
        return KellyMenu(self.staking, 0.0)

    def full(self, mean: FloatArray, variance: FloatArray) -> FloatArray:
        """Full Kelly stakes, fractions of the bankroll, [n]; 0 where the mean does not clear the hurdle."""
        return _capped(mean - self.hurdle, variance + mean**2, self.staking)


def joint_stakes(
    share: FloatArray, moments: tuple[FloatArray, FloatArray], group: IntArray, staking: StakingSpec
) -> FloatArray:
    """Stakes of rows decided together: each its share of its capped Kelly stake, their sum within the bound.

    As `betting.staking.allocate`, where the bound binds every mean is reduced by the price at which it is met, so
    what an agent leaves of one strategy goes to the next best edge instead of nowhere.

    Args:
        share: of the full Kelly stake, 0..1, [n].
        moments: mean and variance of the next return, [n] each; NaN stakes nothing.
        group: number of each row's decision time, 0.., int[n].
        staking: the bounds; its Kelly fraction is not used.

    >>> mean, variance, group = np.array([0.2, 0.1]), np.array([0.16, 0.19]), np.array([0, 0])
    >>> spec = StakingSpec(max_stake_fraction=0.8, max_total_fraction=1.0)
    >>> joint_stakes(np.array([1.0, 1.0]), (mean, variance), group, spec).round(9).tolist()
    [0.75, 0.25]
    """
    mean, second_moment = moments[0], moments[1] + moments[0] ** 2
    price = _price(share, moments, group, staking, staking.max_total_fraction)
    return share * _capped(mean - price[group], second_moment, staking)


def _capped(edge: FloatArray, second_moment: FloatArray, staking: StakingSpec) -> FloatArray:
    """Kelly stakes up to the cap; 0 without an edge, or where it is not known."""
    staked = (edge > 0) & (second_moment > 0)
    kelly = np.divide(edge, second_moment, out=np.zeros(len(edge)), where=staked)
    return np.minimum(kelly, staking.max_stake_fraction)


def _price(
    share: FloatArray, moments: tuple[FloatArray, FloatArray], group: IntArray, staking: StakingSpec, bound: float
) -> FloatArray:
    """The lowest price of every group at which its stakes stay within the bound, by bisection; 0 where free."""
    mean, second_moment = moments[0], moments[1] + moments[0] ** 2
    groups = int(group.max(initial=0)) + 1

    def over(price: FloatArray) -> np.ndarray:
        stake = share * _capped(mean - price[group], second_moment, staking)
        return np.bincount(group, stake, groups) > bound

    low, high = np.zeros(groups), np.full(groups, np.nanmax(mean, initial=0.0))
    free = ~over(low)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        costly = over(middle)
        low, high = np.where(costly, middle, low), np.where(costly, high, middle)
    return np.where(free, 0.0, high)


@dataclass(frozen=True, eq=False)
class Decisions:
    """Rows to be decided, those of one decision time next to each other, in order of time; n rows, t times.

    Attributes:
        features: what the agent sees of each row, finite, of the order of 1; float32[n, k].
        kelly: full Kelly stake of each row, a fraction of the bankroll, >= 0; float[n].
        next_roi: return of the window after it, known when the decision is settled; float[n].
        first: position of the first row of each decision time, ascending from 0; int[t].

    Raises:
        InvalidInput: lengths differ, a value is not finite, or there is no row.
    """

    features: np.ndarray
    kelly: FloatArray
    next_roi: FloatArray
    first: IntArray

    def __post_init__(self) -> None:
        n = len(self.kelly)
        if not n or len(self.features) != n or len(self.next_roi) != n:
            raise InvalidInput(
                f"{len(self.features)} rows of features, {n} Kelly stakes and {len(self.next_roi)} returns: "
                "give one of each per row, and at least one row."
            )
        for name in ("features", "kelly", "next_roi"):
            if not np.isfinite(getattr(self, name)).all():
                raise InvalidInput(f"{name} holds values that are not finite: impute or drop them first.")

    @property
    def ends(self) -> IntArray:
        """Position after the last row of each decision time, int[t]."""
        return np.append(self.first[1:], len(self.kelly))


def first_of_times(decision_time: pd.Series) -> IntArray:
    """Positions at which a new decision time begins, of rows in order of time.

    >>> first_of_times(pd.Series(pd.to_datetime(["2024-01-31", "2024-01-31", "2024-02-29"]))).tolist()
    [0, 2]
    """
    times = decision_time.to_numpy()
    return np.flatnonzero(np.append(True, times[1:] != times[:-1]))


def period_returns(stake: FloatArray, decisions: Decisions, max_total_fraction: float) -> FloatArray:
    """Return on the bankroll of each decision time's stakes, scaled down to the bound together; >= -1, float[t]."""
    total = np.add.reduceat(stake, decisions.first)
    profit = np.add.reduceat(stake * decisions.next_roi, decisions.first)
    return np.maximum(profit * bound_scale(total, max_total_fraction), -1.0)


def bound_scale(total: FloatArray, max_total_fraction: float) -> FloatArray:
    """Factor that brings stakes of a `total` within the bound, 0..1; elementwise."""
    return np.minimum(1.0, max_total_fraction / np.maximum(total, 1e-12))
