"""What stakes would have earned: the stakes of each decision time are settled together, and gains reinvested."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.performance import (
    MONTHS_PER_YEAR,
    BettingMetrics,
    bankroll_curve,
    betting_metrics,
    finite_vector,
    max_drawdown,
    sharpe_ratio,
)
from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows, utc_times


@dataclass(frozen=True, eq=False)
class AllocationResult:
    """The replay of an allocation over m decision times.

    Attributes:
        decision_time: shape (m,), ascending, unique.
        period_return: return on the whole bankroll of the stakes decided then, shape (m,); -1 is ruin.
        bankroll: before the first and after every decision time's stakes, shape (m + 1,); it starts at 1.
        metrics: stakes and profits in fractions of the bankroll at their time, so that a later, larger bankroll weighs
            no more; Sharpe ratio of monthly returns, annualised; drawdown of the bankroll.
    """

    decision_time: pd.DatetimeIndex
    period_return: FloatArray
    bankroll: FloatArray
    metrics: BettingMetrics

    @property
    def final_bankroll(self) -> float:
        return float(self.bankroll[-1])

    @property
    def growth(self) -> float:
        """Final over initial bankroll, minus 1."""
        return self.final_bankroll - 1.0


def simulate_allocation(
    decision_time: ArrayLike | pd.DatetimeIndex, stakes: ArrayLike, next_roi: ArrayLike
) -> AllocationResult:
    """Replay stakes over their decision times.

    At each decision time the bankroll is multiplied by 1 + sum(stake x next return), with ruin at 0 for good. Windows
    that are still open at the next decision time are settled early; monthly windows decided monthly never are.

    Args:
        decision_time: shape (n,), any order.
        stakes: fractions of the bankroll at that time, >= 0, shape (n,).
        next_roi: return of the staked window, shape (n,).

    Raises:
        InvalidInput: lengths differ, a value is not finite, a stake is negative, or there is no row.
    """
    times, stake, roi = utc_times(decision_time), finite_vector(stakes, "stakes"), finite_vector(next_roi, "next_roi")
    if not len(times) == len(stake) == len(roi) or not len(times):
        raise InvalidInput(
            f"{len(times)} decision times, {len(stake)} stakes and {len(roi)} returns: "
            "give one of each per row, and at least one row."
        )
    profit = stake * roi
    unique_times, index = np.unique(times, return_inverse=True)
    period_return = np.maximum(np.bincount(index, weights=profit), -1.0)
    decided, curve = pd.DatetimeIndex(unique_times), bankroll_curve(period_return)
    of_months = sharpe_ratio(monthly_returns(decided, period_return), MONTHS_PER_YEAR)
    metrics = betting_metrics(stake, profit).model_copy(
        update={"sharpe_ratio": of_months, "max_drawdown": max_drawdown(curve)}
    )
    return AllocationResult(decided, period_return, curve, metrics)


def allocation_of(rows: ScoredRows) -> AllocationResult:
    """`simulate_allocation` of a model's own stakes."""
    return simulate_allocation(rows.decision_time, rows.stake, rows.next_roi)


def monthly_returns(decision_time: pd.DatetimeIndex, period_return: FloatArray) -> FloatArray:
    """Compounded return of every calendar month with a decision.

    Both arguments have shape (m,) and ascend in time; -1 is ruin.
    """
    _, first = np.unique(months_of(decision_time), return_index=True)
    return np.multiply.reduceat(1.0 + period_return, first) - 1.0
