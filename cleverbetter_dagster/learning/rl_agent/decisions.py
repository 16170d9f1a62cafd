"""What a betting agent decides: rows in order of time, each with what is known then and the return that follows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.betting.open_stakes import Windows, replay
from cleverbetter_dagster.betting.staking import StakingSpec, allocate, kelly_fraction
from cleverbetter_dagster.errors import InvalidInput

STEPS = 11
"""Choices of an agent: 0, 10, ..., 100% of the full Kelly stake."""


def fraction_of(step: IntArray) -> FloatArray:
    """Share of the full Kelly stake that a step stands for.

    >>> fraction_of(np.array([0, 3, 10])).tolist()
    [0.0, 0.3, 1.0]
    """
    return step / (STEPS - 1)


def bound_scale(total: FloatArray, max_total_fraction: float) -> FloatArray:
    """Factor that brings stakes of a `total` within the bound, 0..1; elementwise."""
    return np.minimum(1.0, max_total_fraction / np.maximum(total, 1e-12))


@dataclass(frozen=True, eq=False)
class Decisions:
    """Rows to be decided, in order of time: n rows of t rounds (see `betting.open_stakes`).

    Attributes:
        time: decision time of each row, ascending; datetime64[n] in UTC.
        opens, closes: when the window that is staked on begins, and when its return is known; datetime64[n].
        features: what the agent sees of each row, finite, of the order of 1; float32[n, k].
        mean, variance: of the return of the next window, as expected; float[n].
        next_roi: the return that followed, known when the decision is settled; float[n].

    Raises:
        InvalidInput: lengths differ, a value is not finite, the times do not ascend, or a window closes before it was
            decided on.
    """

    time: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    features: np.ndarray
    mean: FloatArray
    variance: FloatArray
    next_roi: FloatArray

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self._arrays()}
        if len(set(lengths.values())) > 1:
            raise InvalidInput(f"Lengths differ ({lengths}): give one of each per row.")
        for name in ("features", "mean", "variance", "next_roi"):
            if not np.isfinite(getattr(self, name)).all():
                raise InvalidInput(f"{name} holds values that are not finite: impute or drop them first.")
        if (self.time[1:] < self.time[:-1]).any():
            raise InvalidInput("The decision times do not ascend: sort the rows by time.")
        _ = self.windows

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def windows(self) -> Windows:
        """What the rows are staked for."""
        return Windows(self.time, self.opens, self.closes)

    @property
    def first(self) -> IntArray:
        """Position of the first row of each round, int[t]."""
        return np.searchsorted(self.windows.round, np.arange(len(self.windows.instants)))

    @property
    def ends(self) -> IntArray:
        """Position after the last row of each round, int[t]."""
        return np.append(self.first[1:], len(self)) if len(self) else np.empty(0, dtype=np.int64)

    @property
    def rounds_open(self) -> IntArray:
        """Number of rounds until a stake on each row is settled, at least 1, int[n]."""
        return self.windows.settled - self.windows.round

    def kelly(self, staking: StakingSpec) -> FloatArray:
        """Full Kelly stake of each row by itself, up to the cap: what the steps are tenths of; float[n]."""
        return np.minimum(kelly_fraction(self.mean, self.variance), staking.max_stake_fraction)

    def returns_of(self, share: FloatArray, staking: StakingSpec) -> FloatArray:
        """What the realised bankroll gains from each round to the next, staked by `share` of Kelly; >= -1, float[t]."""

        def size(rows: IntArray, open_fraction: float) -> FloatArray:
            return allocate(self.mean[rows], self.variance[rows], staking, share[rows], open_fraction)

        bankroll = replay(self.windows, self.next_roi, size).bankroll
        return np.divide(bankroll[1:], bankroll[:-1], out=np.ones(len(bankroll) - 1), where=bankroll[:-1] > 0) - 1.0

    def take(self, rows: np.ndarray) -> Self:
        """The rows at these positions, or where this mask is true."""
        return type(self)(*(getattr(self, name)[rows] for name in self._arrays()))

    def joined(self, other: Self) -> Self:
        """The rows of both, in order of time."""
        time = np.concatenate([self.time, other.time])
        order = np.argsort(time, kind="stable")
        return type(self)(
            *(np.concatenate([getattr(self, name), getattr(other, name)])[order] for name in self._arrays())
        )

    def cut(self, newest: int) -> tuple[Self, Self]:
        """The rows before the `newest` rounds, and those of them."""
        start = self.first[-newest] if 0 < newest <= len(self.first) else 0 if newest else len(self)
        return self.take(np.arange(start)), self.take(np.arange(start, len(self)))

    @classmethod
    def _arrays(cls) -> tuple[str, ...]:
        return tuple(cls.__dataclass_fields__)
