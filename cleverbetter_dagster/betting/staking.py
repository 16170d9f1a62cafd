"""Stakes: how much of the bankroll each strategy gets for its next window.

A strategy's next return is continuous and many strategies are staked at once, so a probability is not enough: a stake
needs the mean and the variance of the return, each stake is capped, and their sum is bounded. Stakes are fractions of
the realised bankroll at the decision (see `open_stakes`).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray
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
        0.8,
        gt=0,
        le=1,
        description="Most of the bankroll that may be open at any time, in all strategies together; above 0, at most "
        "1, default 0.8.",
    )

    def left_over(self, open_fraction: float) -> float:
        """Share of the bankroll that may still be staked when so much of it is open, >= 0."""
        return max(self.max_total_fraction - open_fraction, 0.0)


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
    share: ArrayLike | None = None,
    open_fraction: float = 0.0,
) -> FloatArray:
    """Fractional Kelly stakes of one round, many strategies at once: each is capped, and their sum is bounded.

    A stake is `kelly_fraction` times full Kelly, up to the cap. If the sum would exceed its bound, every mean is
    reduced by the same amount, the price of the bankroll, just enough for the sum to meet the bound: the best edges are
    staked first. For uncorrelated returns this maximises sum(k f m - f^2 E[R^2] / 2) under both bounds (it satisfies
    the Karush-Kuhn-Tucker conditions).

    Args:
        mean: expected return of each strategy's next window, shape (n,).
        variance: of that return, >= 0, shape (n,).
        spec: the bounds.
        share: how much of its capped stake each strategy gets, 0..1, shape (n,); by default all of it. Under the bound
            on the sum, the rest goes to the next best edges.
        open_fraction: share of the bankroll that earlier stakes hold; the bound on the sum is for both together.

    Returns:
        Fractions of the bankroll, shape (n,), >= 0; 0 if the mean is <= 0 or either is unknown (NaN).

    >>> spec = StakingSpec(kelly_fraction=1.0, max_stake_fraction=0.8, max_total_fraction=1.0)
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

    def priced(price: float) -> FloatArray:
        full = np.maximum(edge - price, 0.0) / second_moment
        return whole * np.minimum(spec.kelly_fraction * full, spec.max_stake_fraction)

    return priced(_price_of_bankroll(priced, edge.max(initial=0.0), spec.left_over(open_fraction)))


def _price_of_bankroll(priced: Callable[[float], FloatArray], highest: float, bound: float) -> float:
    """The lowest price at which stakes stay within the bound, to the last bit, by bisection."""
    low, high = 0.0, highest
    if priced(low).sum() <= bound:
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if priced(middle).sum() > bound else (low, middle)
    return high


def equal_stakes(strategies: int, spec: StakingSpec | None = None, open_fraction: float = 0.0) -> FloatArray:
    """The largest allowed stake for every strategy of a round, or an equal share of the bound on the sum if less.

    Args:
        strategies: how many there are.
        spec: the bounds.
        open_fraction: as in `allocate`.

    Returns:
        Fractions of the bankroll, shape (strategies,).

    >>> equal_stakes(2, StakingSpec(max_stake_fraction=0.8, max_total_fraction=0.9)).tolist()
    [0.45, 0.45]
    """
    spec = spec or StakingSpec()
    each = min(spec.max_stake_fraction, spec.left_over(open_fraction) / max(strategies, 1))
    return np.full(strategies, each)


def _check_within(values: FloatArray, name: str, low: float, high: float) -> None:
    """NaN passes: it means unknown."""
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise InvalidInput(f"{name} is {wrong.flat[0]}, must be within {low}..{high}.")
