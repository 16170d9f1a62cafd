"""Performance of a sequence of bets or of a series of period returns. Nothing here knows strategies, models or times.

- A *stake* is the money (or fraction of the bankroll) risked on one bet, >= 0. Its *profit* is what the bet added to
  the bankroll, in the unit of the stake; it is negative if the bet lost. A bet with a stake of 0 was not placed.
- A ratio that is not defined is `None`, never a sentinel such as 999: ROI and win rate without a bet, profit factor
  without a losing bet, Sharpe ratio with fewer than two returns or without variation.
- NaN or infinite input raises `InvalidInput`.
"""

from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.errors import InvalidInput

MONTHS_PER_YEAR = 12

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class BettingMetrics(BaseModel):
    """Metrics of a sequence of bets. Money is in the unit of the stakes; `None` if a metric is not defined."""

    model_config = ConfigDict(frozen=True)

    n_bets: int = Field(ge=0, description="bets with a stake above 0")
    total_stake: float = Field(ge=0)
    total_return: float = Field(description="sum of the profits; losses are negative")
    roi: float | None = Field(description="total_return / total_stake")
    win_rate: Fraction | None = Field(description="share of the bets with a profit above 0")
    profit_factor: float | None = Field(description="gross profit / gross loss")
    sharpe_ratio: float | None = Field(description="mean / standard deviation of returns")
    max_drawdown: Fraction = Field(description="largest fall from a peak, as a fraction of the peak")


def betting_metrics(stakes: ArrayLike, profits: ArrayLike, initial_bankroll: float | None = None) -> BettingMetrics:
    """Metrics of bets that are settled one after the other, without reinvesting profits.

    Args:
        stakes: shape (n,), >= 0.
        profits: shape (n,), in the unit of the stakes; 0 where the stake is 0.
        initial_bankroll: bankroll before the first bet, > 0, in the unit of the stakes; the drawdown needs it. Default:
            the sum of the stakes, the smallest bankroll that can lose all of them.

    Raises:
        InvalidInput: shapes differ, a number is not finite, a stake is negative, or a profit has no stake.

    >>> metrics = betting_metrics([10, 10, 20], [15, -10, -20])
    >>> metrics.total_return, metrics.roi, metrics.win_rate, metrics.profit_factor
    (-15.0, -0.375, 0.3333333333333333, 0.5)
    """
    stake, profit = placed_bets(stakes, profits)
    total_stake, total_return = float(stake.sum()), float(profit.sum())
    bankroll = initial_bankroll if initial_bankroll is not None else (total_stake or 1.0)
    if not bankroll > 0:
        raise InvalidInput(f"initial_bankroll is {bankroll}, must be > 0: give the money available for the bets.")
    return BettingMetrics(
        n_bets=len(stake),
        total_stake=total_stake,
        total_return=total_return,
        roi=total_return / total_stake if total_stake > 0 else None,
        win_rate=win_rate(profit),
        profit_factor=profit_factor(profit),
        sharpe_ratio=sharpe_ratio(profit / stake, periods_per_year=1),
        max_drawdown=max_drawdown(np.maximum(bankroll + np.append(0.0, np.cumsum(profit)), 0.0)),
    )


def placed_bets(stakes: ArrayLike, profits: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Checked stakes and profits of the bets with a stake above 0 (see `betting_metrics`)."""
    stake, profit = finite_vector(stakes, "stakes"), finite_vector(profits, "profits")
    if len(stake) != len(profit):
        raise InvalidInput(f"{len(stake)} stakes but {len(profit)} profits: give one profit for every stake.")
    if (stake < 0).any():
        raise InvalidInput(f"A stake is {stake.min()}, must be >= 0: a lay bet's stake is its liability.")
    placed = stake > 0
    if profit[~placed].any():
        raise InvalidInput("A bet with a stake of 0 has a profit: give its stake, or a profit of 0.")
    return stake[placed], profit[placed]


def win_rate(profits: ArrayLike) -> float | None:
    """Share of bets with a profit above 0; a bet whose stake was returned is no win. None without a bet."""
    profit = finite_vector(profits, "profits")
    return float((profit > 0).mean()) if len(profit) else None


def profit_factor(profits: ArrayLike) -> float | None:
    """Gross profit over gross loss, >= 0; None if no bet lost."""
    profit = finite_vector(profits, "profits")
    gain, loss = np.maximum(profit, 0.0).sum(), np.maximum(-profit, 0.0).sum()
    # A loss that is tiny beside the gain is a rounding error; the ratio would be astronomical.
    return float(gain / loss) if loss > 1e-12 * gain else None


def sharpe_ratio(returns: ArrayLike, periods_per_year: float) -> float | None:
    """Annualised mean over standard deviation (ddof=1) of returns, with a risk-free rate of 0.

    Source: Sharpe (1994), "The Sharpe Ratio", Journal of Portfolio Management 21(1). None for fewer than two
    returns or returns without variation.

    >>> round(sharpe_ratio([0.01, 0.03], periods_per_year=2), 6)
    2.0
    """
    values = finite_vector(returns, "returns")
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    # The deviation of equal returns is a rounding error; the ratio would be astronomical.
    if deviation <= 1e-12 * np.abs(values).max(initial=0.0):
        return None
    return float(values.mean() / deviation * np.sqrt(periods_per_year))


def bankroll_curve(returns: ArrayLike, initial_bankroll: float = 1.0) -> FloatArray:
    """The bankroll before the first and after every period, shape (n + 1,), with profits reinvested.

    A return of -1 or less is ruin: the bankroll is 0 from then on.

    >>> bankroll_curve([0.1, -0.5], 100).round(9).tolist()
    [100.0, 110.0, 55.0]
    """
    growth = np.maximum(1.0 + finite_vector(returns, "returns"), 0.0)
    return initial_bankroll * np.append(1.0, np.cumprod(growth))


def max_drawdown(curve: ArrayLike) -> float:
    """Largest fall of a bankroll below an earlier peak, as a fraction of that peak, 0..1.

    Args:
        curve: shape (n,), n >= 1, starting above 0 and never below 0.

    >>> max_drawdown([100, 120, 90, 130])
    0.25
    """
    values = finite_vector(curve, "curve")
    if len(values) == 0 or values[0] <= 0 or values.min() < 0:
        raise InvalidInput(f"A bankroll curve must start above 0 and stay >= 0 (got {values[:3]}...): floor ruin at 0.")
    peak = np.maximum.accumulate(values)
    return float(((peak - values) / peak).max())


def finite_vector(values: ArrayLike, name: str) -> FloatArray:
    """`values` as a float array of shape (n,).

    Raises:
        InvalidInput: not one-dimensional, not numbers, or not all finite.
    """
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} are not numbers: {values!r:.100}") from None
    if vector.ndim != 1:
        raise InvalidInput(f"{name} have shape {vector.shape}, must be one-dimensional.")
    if not np.isfinite(vector).all():
        wrong = np.flatnonzero(~np.isfinite(vector))
        raise InvalidInput(
            f"{name}[{wrong[0]}] is {vector[wrong[0]]} ({len(wrong)} of {len(vector)} are not finite): "
            "drop or repair them first."
        )
    return vector
