"""Stakes: how much of the bankroll each strategy gets for its next window.

A strategy's next return is continuous and many strategies are staked at once, so a probability is not enough: a stake
needs the mean and the variance of the return, each stake is capped, and their sum is bounded. Stakes are fractions of
the bankroll at the decision time.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.errors import InvalidInput

# For a normal return around 0, E[R^2] is pi/2 times the square of its mean absolute value.
_NORMAL_DISPERSION = np.pi / 2
# Returns below a billionth count as this: the square of a smaller number could underflow.
_LEAST_SECOND_MOMENT = 1e-18
_BISECTIONS = 60  # a price is then exact to the last bit


class StakingSpec(BaseModel):
    """Bounds on the stakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kelly_fraction: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of the full Kelly stake; above 0, at most 1, default 0.25. Full Kelly assumes that the "
        "mean return is known, but it is estimated.",
    )
    max_stake_fraction: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Most of the bankroll that one strategy may get; above 0, at most 1, default 0.05.",
    )
    max_total_fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Most of the bankroll that all strategies of one decision time may get together; above 0, at most "
        "1, default 1.",
    )


def return_moments(probability: ArrayLike, gain: ArrayLike, loss: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of the next window's return.

    The return is positive with `probability` and then `gain` on average; otherwise it is `-loss` on average. On either
    side it scatters as a normal return does: its second moment is pi/2 times its squared mean magnitude.

    Args:
        probability: of a positive return, 0..1, shape (n,).
        gain: mean size of positive returns, >= 0, as a fraction of the stake, shape (n,).
        loss: mean size of negative returns, >= 0 (a magnitude, not a negative return), shape (n,).

    NaN means unknown and gives NaN.

    >>> mean, variance = return_moments([0.6], [0.1], [0.05])
    >>> mean.round(6).tolist()
    [0.04]
    """
    p, up, down = (np.asarray(values, dtype=np.float64) for values in (probability, gain, loss))
    _check_within(p, "probability", 0.0, 1.0)
    _check_within(up, "gain", 0.0, np.inf)
    _check_within(down, "loss", 0.0, np.inf)
    mean = p * up - (1.0 - p) * down
    second_moment = _NORMAL_DISPERSION * (p * up**2 + (1.0 - p) * down**2)
    return mean, np.maximum(second_moment - mean**2, 0.0)


def kelly_fraction(mean: ArrayLike, variance: ArrayLike) -> FloatArray:
    """Fraction of the bankroll that maximises expected log growth: mean / (variance + mean^2), >= 0.

    Maximises f E[R] - f^2 E[R^2] / 2, the second-order expansion of E[log(1 + f R)]. Source: Thorp (2006), "The Kelly
    Criterion in Blackjack, Sports Betting, and the Stock Market", section 7 (which drops mean^2 beside the variance).
    0 if the mean is <= 0, or if either is NaN. The fraction has no upper bound: cap it.

    >>> kelly_fraction([0.02, -0.02], [0.0096, 0.0096]).round(9).tolist()
    [2.0, 0.0]
    """
    m, v = np.asarray(mean, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    _check_within(v, "variance", 0.0, np.inf)
    second_moment = v + m**2
    edge = (m > 0) & (second_moment > 0)
    return np.divide(m, second_moment, out=np.zeros(np.broadcast(m, v).shape), where=edge)


def allocate(
    mean: ArrayLike,
    variance: ArrayLike,
    spec: StakingSpec | None = None,
    group: ArrayLike | None = None,
    share: ArrayLike | None = None,
) -> FloatArray:
    """Fractional Kelly stakes of many strategies at once: each is capped, and their sum is bounded.

    A stake is `kelly_fraction` times full Kelly, up to the cap. If the sum would exceed its bound, every mean is
    reduced by the same amount, the price of the bankroll, just enough for the sum to meet the bound: the best edges are
    staked first. For uncorrelated returns this maximises sum(k f m - f^2 E[R^2] / 2) under both bounds (it satisfies
    the Karush-Kuhn-Tucker conditions).

    Args:
        mean: expected return of each strategy's next window, shape (n,).
        variance: of that return, >= 0, shape (n,).
        spec: the bounds.
        group: decision time of each strategy, shape (n,). The bound on the sum holds within a group; by default all
            strategies are one group.
        share: how much of its capped stake each strategy gets, 0..1, shape (n,); by default all of it. Under the bound
            on the sum, the rest goes to the next best edges.

    Returns:
        Fractions of the bankroll, shape (n,), >= 0; 0 if the mean is <= 0 or either is unknown (NaN).

    >>> spec = StakingSpec(kelly_fraction=1.0, max_stake_fraction=0.8)
    >>> allocate([0.2, 0.1], [0.16, 0.19], spec).round(9).tolist()
    [0.75, 0.25]
    >>> allocate([0.2, 0.1], [0.16, 0.19], spec, share=[0.5, 1.0]).round(9).tolist()
    [0.4, 0.5]
    """
    spec = spec or StakingSpec()
    m, v = np.asarray(mean, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    whole = np.ones(len(m)) if share is None else np.asarray(share, dtype=np.float64)
    _check_within(v, "variance", 0.0, np.inf)
    _check_within(whole, "share", 0.0, 1.0)
    known = (m > 0) & np.isfinite(v)
    edge, second_moment = np.where(known, m, 0.0), np.where(known, v + m**2, 1.0).clip(_LEAST_SECOND_MOMENT)
    index = _group_index(group, len(m))

    def priced(price: FloatArray) -> FloatArray:
        full = np.maximum(edge - price[index], 0.0) / second_moment
        return whole * np.minimum(spec.kelly_fraction * full, spec.max_stake_fraction)

    return priced(_price_of_bankroll(priced, edge, index, spec.max_total_fraction))


def _price_of_bankroll(
    priced: Callable[[FloatArray], FloatArray], edge: FloatArray, index: IntArray, bound: float
) -> FloatArray:
    """The lowest price per group at which its stakes stay within the bound; near 0 if the bound is not reached.

    By bisection of all groups at once, which keeps the stakes within the bound to the last bit.
    """
    low = np.zeros(index.max(initial=-1) + 1)
    high = np.full(len(low), edge.max(initial=0.0))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        over = np.bincount(index, priced(middle), len(low)) > bound
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return high


def equal_stakes(group: ArrayLike, spec: StakingSpec | None = None) -> FloatArray:
    """The largest allowed stake for every strategy, or an equal share of the bound on the sum if that is less.

    Args:
        group: decision time of each strategy, shape (n,).
        spec: the bounds.

    Returns:
        Fractions of the bankroll, shape (n,).

    >>> equal_stakes(["may", "may", "june"], StakingSpec(max_stake_fraction=0.8)).tolist()
    [0.5, 0.5, 0.8]
    """
    spec = spec or StakingSpec()
    _, index, count = np.unique(np.asarray(group), return_inverse=True, return_counts=True)
    return np.minimum(spec.max_stake_fraction, spec.max_total_fraction / count)[index]


def _group_index(group: ArrayLike | None, length: int) -> IntArray:
    """Number of each strategy's group, 0.., shape (length,)."""
    members = np.zeros(length) if group is None else np.asarray(group)
    if members.shape != (length,):
        raise InvalidInput(f"{length} strategies but groups of shape {members.shape}: give each one group.")
    return np.unique(members, return_inverse=True)[1]


def _check_within(values: FloatArray, name: str, low: float, high: float) -> None:
    """NaN passes: it means unknown."""
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise InvalidInput(f"{name} is {wrong.flat[0]}, must be within {low}..{high}.")
