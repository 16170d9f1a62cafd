"""The bets of one simulated month, and the numbers of its rows, measured by the functions that evaluations use."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.betting.composite import composite_score
from cleverbetter_dagster.betting.performance import max_drawdown, profit_factor, sharpe_ratio, win_rate
from cleverbetter_dagster.dataset.simulation.market import Runners
from cleverbetter_dagster.dataset.simulation.strategies import Strategies

INITIAL_CAPITAL = 1_000.0
STAKE = 0.5
COMMISSION = 0.05
LEAST_BETS = 10
DAYS_PER_YEAR = 365

UNDEFINED = {"sharpe_ratio": 0.0, "profit_factor": 999.0}
"""What upstream writes where a ratio is not defined."""


def place_bets(strategies: Strategies, runners: Runners, month: int) -> pd.DataFrame:
    """Bet a flat stake on every runner in a strategy's cells, while the capital covers the liability.

    A strategy has no bets before its first month, or with fewer than `LEAST_BETS` runners to bet on.

    Returns:
        One line per bet, by strategy and then in order of time: `strategy`, its number; `runner`, a position among the
        month's runners; `day` of the month; `profit` after commission.
    """
    wanted = strategies.cells[:, runners.cell]
    wanted &= ((strategies.first_month <= month) & (wanted.sum(axis=1) >= LEAST_BETS))[:, None]
    strategy, runner = np.nonzero(wanted)
    profit, liability = _settle(strategies.lays[strategy], runners, runner)
    bets = pd.DataFrame({"strategy": strategy, "runner": runner, "day": runners.day[runner], "profit": profit})
    before = INITIAL_CAPITAL + bets.groupby("strategy")["profit"].cumsum() - profit
    times_broke = (before < liability).groupby(strategy).cumsum()
    return bets[times_broke == 0].reset_index(drop=True)


def _settle(lays: NDArray[np.bool_], runners: Runners, runner: IntArray) -> tuple[FloatArray, FloatArray]:
    """Profit of each bet after commission on winnings, and the most that it could lose."""
    won, lay_loss = runners.won[runner], STAKE * (runners.lay_odds[runner] - 1.0)
    backed = np.where(won, STAKE * (runners.back_odds[runner] - 1.0) * (1.0 - COMMISSION), -STAKE)
    laid = np.where(won, -lay_loss, STAKE * (1.0 - COMMISSION))
    return np.where(lays, laid, backed), np.where(lays, lay_loss, STAKE)


def row_metrics(bets: pd.DataFrame, days: int) -> pd.DataFrame:
    """One line per strategy that bet: its number as `strategy`, and the metrics of its row."""
    numbers, first = np.unique(bets["strategy"], return_index=True)
    profits = np.split(bets["profit"].to_numpy(), first)[1:]
    capital = [INITIAL_CAPITAL + np.append(0.0, np.cumsum(own)) for own in profits]
    metrics = pd.DataFrame(
        {
            "strategy": numbers,
            "initial_capital": INITIAL_CAPITAL,
            "final_capital": np.array([curve[-1] for curve in capital], dtype=np.float64).round(2),
            "sharpe_ratio": [sharpe_ratio(own, DAYS_PER_YEAR) for own in _by_day(bets, days) / INITIAL_CAPITAL],
            "max_drawdown": [max_drawdown(np.maximum(curve, 0.0)) for curve in capital],
            "total_bets": [len(own) for own in profits],
            "win_rate": [win_rate(own) for own in profits],
            "profit_factor": [profit_factor(own) for own in profits],
        }
    )
    metrics["total_return"] = metrics["final_capital"] / INITIAL_CAPITAL - 1.0
    return metrics.fillna(UNDEFINED).assign(composite_score=composite_score)


def row_features(bets: pd.DataFrame, runners: Runners, days: int) -> pd.DataFrame:
    """Market features of every row, in the order of `row_metrics`.

    `consistency_score` is the share of the month's thirds that made money. `overfit_score` is the profit per bet of the
    first two thirds minus that of the last. `monte_carlo_var95` (`99`) is the return that resampled bets fall below in
    5% (1%) of draws, by the normal approximation.
    """
    seen = pd.DataFrame(
        {
            "avg_odds": runners.back_odds,
            "avg_volume": runners.volume,
            "odds_drift": runners.drift,
            "avg_spread": runners.lay_odds / runners.back_odds - 1.0,
            "overround": runners.overround,
            "avg_field_size": runners.field_size,
            "avg_rank": runners.rank,
            "expected_win_rate": runners.belief,
        }
    )
    means = seen.iloc[bets["runner"]].groupby(bets["strategy"].to_numpy()).mean()
    profits = bets.groupby("strategy")["profit"].agg(["sum", "size", "var"])
    deviation = np.sqrt(profits["var"].fillna(0.0) * (profits["size"] - 1))
    placed, daily = _by_day(bets.assign(profit=1.0), days), _by_day(bets, days)
    thirds = np.array([part.sum(axis=1) for part in np.array_split(daily, 3, axis=1)])
    count = np.array([part.sum(axis=1) for part in np.array_split(placed, 3, axis=1)])
    early = thirds[:2].sum(axis=0) / np.maximum(count[:2].sum(axis=0), 1.0)
    return means.assign(
        monte_carlo_var95=(profits["sum"] - 1.645 * deviation) / INITIAL_CAPITAL,
        monte_carlo_var99=(profits["sum"] - 2.326 * deviation) / INITIAL_CAPITAL,
        consistency_score=(thirds > 0).mean(axis=0),
        overfit_score=early - thirds[2] / np.maximum(count[2], 1.0),
        bets_per_day=profits["size"] / (placed > 0).sum(axis=1),
    ).reset_index(drop=True)


def _by_day(bets: pd.DataFrame, days: int) -> FloatArray:
    """Sum of the bets' profit for every strategy that bet and every day, shape (strategies, days)."""
    numbers, row = np.unique(bets["strategy"], return_inverse=True)
    sums = np.bincount(row * days + bets["day"], bets["profit"], len(numbers) * days)
    return sums.astype(np.float64).reshape(-1, days)
