"""From the simulated bets of one month to the numbers of its rows, measured as an evaluation measures
them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cleverbetter_dagster.betting.performance import DAYS_PER_YEAR, composite_score
from cleverbetter_dagster.betting.segments import (
    FloatArray,
    IntArray,
    segment_cumulative_sums,
    segment_lengths,
    segment_max_drawdowns,
    segment_profit_factors,
    segment_sharpe_ratios,
    segment_sums,
    segment_win_rates,
)
from cleverbetter_dagster.dataset.simulation.market import Runners
from cleverbetter_dagster.dataset.simulation.strategies import Strategies

INITIAL_CAPITAL = 1_000.0
STAKE = 0.5
COMMISSION = 0.05
LEAST_BETS = 10
NO_LOSS_PROFIT_FACTOR = 999.0

_SCORED = ("total_return", "sharpe_ratio", "max_drawdown", "win_rate", "profit_factor")


@dataclass(frozen=True, eq=False)
class Bets:
    """Bets of one month, by strategy and then in order of time."""

    strategy: IntArray
    """Number of the strategy, shape (n_bets,)."""
    runner: IntArray
    """Position among the month's runners, shape (n_bets,)."""
    profit: FloatArray
    """After commission, shape (n_bets,)."""
    first: IntArray
    """Where each strategy's bets begin, shape (strategies that bet,)."""


def place_bets(strategies: Strategies, runners: Runners, month: int) -> Bets:
    """Bet a flat stake on every runner in a strategy's cells, while the capital covers the liability.

    Strategies not yet begun, or with fewer than `LEAST_BETS` runners to bet on, have no bets.
    """
    wanted = strategies.cells[:, runners.cell]
    wanted &= ((strategies.first_month <= month) & (wanted.sum(axis=1) >= LEAST_BETS))[:, None]
    strategy, runner = np.nonzero(wanted)
    profit, liability = _settle(strategies.lays[strategy], runners, runner)
    first = _starts(strategy)
    before = INITIAL_CAPITAL + segment_cumulative_sums(profit, first) - profit
    broke = segment_cumulative_sums((before < liability).astype(np.float64), first) > 0
    strategy, runner, profit = strategy[~broke], runner[~broke], profit[~broke]
    return Bets(strategy, runner, profit, _starts(strategy))


def _settle(lays: NDArray[np.bool_], runners: Runners, runner: IntArray) -> tuple[FloatArray, FloatArray]:
    """Profit after commission on winnings, and what the bet could lose."""
    won, lay_loss = runners.won[runner], STAKE * (runners.lay_odds[runner] - 1.0)
    backed = np.where(won, STAKE * (runners.back_odds[runner] - 1.0) * (1.0 - COMMISSION), -STAKE)
    laid = np.where(won, -lay_loss, STAKE * (1.0 - COMMISSION))
    return np.where(lays, laid, backed), np.where(lays, lay_loss, STAKE)


def row_metrics(bets: Bets, runners: Runners, days: int) -> pd.DataFrame:
    """One line per strategy that bet: its number as `strategy`, and the metrics of its row upstream."""
    profit, first = bets.profit, bets.first
    capital = INITIAL_CAPITAL + segment_cumulative_sums(profit, first)
    final = np.round(INITIAL_CAPITAL + segment_sums(profit, first), 2)
    daily_return = _by_day(profit, bets, runners, days).ravel() / INITIAL_CAPITAL
    days_first = np.arange(len(first)) * days
    frame = pd.DataFrame(
        {
            "strategy": bets.strategy[first],
            "initial_capital": INITIAL_CAPITAL,
            "final_capital": final,
            "total_return": final / INITIAL_CAPITAL - 1.0,
            "sharpe_ratio": segment_sharpe_ratios(daily_return, days_first, DAYS_PER_YEAR),
            "max_drawdown": segment_max_drawdowns(capital, first, INITIAL_CAPITAL),
            "total_bets": segment_lengths(len(profit), first),
            "win_rate": segment_win_rates(profit, first),
            "profit_factor": segment_profit_factors(profit, first),
        }
    )
    frame["composite_score"] = composite_score(*(frame[name].to_numpy() for name in _SCORED))
    # Upstream's own spellings of what is not defined.
    return frame.fillna({"sharpe_ratio": 0.0, "profit_factor": NO_LOSS_PROFIT_FACTOR})


def row_features(bets: Bets, runners: Runners, days: int) -> pd.DataFrame:
    """Market features of every row, in the order of `row_metrics`.

    `consistency_score` is the share of the month's thirds that made money, `overfit_score` the profit per
    bet of the first two thirds minus that of the last, `monte_carlo_var..` the return that resampling the
    bets falls below in 5% (1%) of draws, in its normal limit.
    """
    first, runner = bets.first, bets.runner
    count = segment_lengths(len(bets.profit), first)

    def mean(values: np.ndarray) -> FloatArray:
        return segment_sums(values[runner], first) / count

    total, squares = segment_sums(bets.profit, first), segment_sums(bets.profit**2, first)
    deviation = np.sqrt(np.maximum(squares - total**2 / count, 0.0))
    daily_bets = _by_day(np.ones(len(bets.profit)), bets, runners, days)
    profit, placed = _by_third(_by_day(bets.profit, bets, runners, days)), _by_third(daily_bets)
    early = profit[:, :-1].sum(axis=1) / np.maximum(placed[:, :-1].sum(axis=1), 1.0)
    late = profit[:, -1] / np.maximum(placed[:, -1], 1.0)
    return pd.DataFrame(
        {
            "avg_odds": mean(runners.back_odds),
            "avg_volume": mean(runners.volume),
            "odds_drift": mean(runners.drift),
            "avg_spread": mean(runners.lay_odds / runners.back_odds - 1.0),
            "overround": mean(runners.overround),
            "avg_field_size": mean(runners.field_size),
            "avg_rank": mean(runners.rank),
            "monte_carlo_var95": (total - 1.645 * deviation) / INITIAL_CAPITAL,
            "monte_carlo_var99": (total - 2.326 * deviation) / INITIAL_CAPITAL,
            "consistency_score": (profit > 0).mean(axis=1),
            "overfit_score": early - late,
            "bets_per_day": count / (daily_bets > 0).sum(axis=1),
            "expected_win_rate": mean(runners.belief),
        }
    )


def _by_day(values: FloatArray, bets: Bets, runners: Runners, days: int) -> FloatArray:
    """Sum of the bets' `values` for every strategy that bet and every day, shape (strategies, days)."""
    row = np.repeat(np.arange(len(bets.first)), segment_lengths(len(values), bets.first))
    key = row * days + runners.day[bets.runner]
    return np.bincount(key, values, len(bets.first) * days).astype(np.float64).reshape(-1, days)


def _by_third(daily: FloatArray) -> FloatArray:
    """Sums over the month's thirds, shape (strategies, 3)."""
    return np.stack([part.sum(axis=1) for part in np.array_split(daily, 3, axis=1)], axis=1)


def _starts(strategy: IntArray) -> IntArray:
    return np.flatnonzero(np.diff(strategy, prepend=-1))
