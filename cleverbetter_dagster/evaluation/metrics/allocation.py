"""What stakes would have earned: every stake is settled when its window closes, and gains are reinvested."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.open_stakes import Windows, replay
from cleverbetter_dagster.betting.performance import (
    MONTHS_PER_YEAR,
    BettingMetrics,
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
    """The replay of an allocation over r rounds of decisions (see `betting.open_stakes`).

    Attributes:
        decision_time: of each round, shape (r,), ascending, unique.
        period_return: what the realised bankroll gained from each round to the next, or from the last to the end of
            all windows, shape (r,); -1 is ruin, and 0 follows it. If every window ends before the next round, it is the
            return on the whole bankroll of the stakes decided then.
        monthly_return: the same compounded over every calendar month of a decision, shape (months,).
        bankroll: realised at every round and when all windows have closed, shape (r + 1,); it starts at 1.
        open_fraction: share of the bankroll that is open right after each round, shape (r,).
        metrics: stakes and profits in fractions of the bankroll at their time, so that a later, larger bankroll weighs
            no more; Sharpe ratio of monthly returns, annualised; drawdown of the bankroll.
    """

    decision_time: pd.DatetimeIndex
    period_return: FloatArray
    monthly_return: FloatArray
    bankroll: FloatArray
    open_fraction: FloatArray
    metrics: BettingMetrics

    @property
    def final_bankroll(self) -> float:
        return float(self.bankroll[-1])

    @property
    def growth(self) -> float:
        """Final over initial bankroll, minus 1."""
        return self.final_bankroll - 1.0


def simulate_allocation(windows: Windows, stakes: ArrayLike, next_roi: ArrayLike) -> AllocationResult:
    """Replay given stakes, with ruin at 0 for good.

    Args:
        windows: what is staked on, in any order, n of them.
        stakes: fractions of the realised bankroll at their rounds, >= 0, shape (n,).
        next_roi: return of the staked window, shape (n,).

    Raises:
        InvalidInput: lengths differ, a value is not finite, a stake is negative, or there is no row.
    """
    stake, roi = finite_vector(stakes, "stakes"), finite_vector(next_roi, "next_roi")
    if not len(windows) == len(stake) == len(roi) or not len(windows):
        raise InvalidInput(
            f"{len(windows)} windows, {len(stake)} stakes and {len(roi)} returns: "
            "give one of each per row, and at least one row."
        )
    played = replay(windows, roi, lambda rows, _: stake[rows])
    before, after = played.bankroll[:-1], played.bankroll[1:]
    period_return = np.divide(after, before, out=np.ones(len(before)), where=before > 0) - 1.0
    decided = utc_times(windows.instants)
    monthly = _monthly_returns(utc_times(windows.decided), decided, period_return)
    metrics = betting_metrics(stake, stake * roi).model_copy(
        update={
            "sharpe_ratio": sharpe_ratio(monthly, MONTHS_PER_YEAR),
            "max_drawdown": max_drawdown(played.bankroll),
        }
    )
    return AllocationResult(decided, period_return, monthly, played.bankroll, played.open_fraction, metrics)


def allocation_of(rows: ScoredRows) -> AllocationResult:
    """`simulate_allocation` of a model's own stakes."""
    return simulate_allocation(rows.windows, rows.stake, rows.next_roi)


def _monthly_returns(decided: pd.DatetimeIndex, rounds: pd.DatetimeIndex, period_return: FloatArray) -> FloatArray:
    """Compounded return of every calendar month in which a row was decided; 0 if its rows wait for a later round."""
    months = np.unique(months_of(decided))
    growth = np.ones(len(months))
    np.multiply.at(growth, np.searchsorted(months, months_of(rounds)), 1.0 + period_return)
    return growth - 1.0
