"""What to expect of a strategy's next window: its own history and, while that is short, everybody's.

Windows differ in size, so they are compared per bet: what a window is expected to return grows with its bets,
and how far it strays grows with their square root. Each estimate is own experience plus a fixed amount of
average experience (empirical Bayes with a prior of known weight; Efron and Morris, Stein's paradox in
statistics, 1977), times the bets the strategy has placed per window. Weights were chosen on the validation
part of real rows.
"""

import numpy as np

from cleverbetter_dagster.dataset.history import History, Population, ratio

SHRUNK_RETURN = "shrunk_return"
SHRUNK_STD = "shrunk_std"
SHRUNK_GAIN = "shrunk_gain"
SHRUNK_LOSS = "shrunk_loss"
STAKING_FEATURES = (SHRUNK_RETURN, SHRUNK_STD, SHRUNK_GAIN, SHRUNK_LOSS)

LARGEST_SHARPE = 20.0
SMALLEST_STD = 1e-4
"""Bounds on `shrunk_sharpe` and its divisor: where returns have hardly varied yet, it has no measure."""

PRIOR_BETS = 300.0
"""Bets of average return per bet that are mixed into a strategy's own."""

PRIOR_WINDOWS = 2.0
"""Windows of average size that are mixed into a strategy's own gains, losses and variance."""

PRIOR_SHARE_WINDOWS = 8.0
"""Windows of the population's profitable share that are mixed into a strategy's own."""


def next_window_estimates(
    roi: np.ndarray, bets: np.ndarray, history: History, population: Population
) -> dict[str, np.ndarray]:
    """Estimates of each row's next window from what is known at its decision time.

    Args:
        roi: of each row, a fraction of capital, float64[n].
        bets: placed in each row's window, float64[n], not negative.
        history: of the rows' own sequences.
        population: of all rows.

    Returns:
        Finite float64[n] each: `shrunk_profitable_share`, 0..1; and as fractions of capital `shrunk_return`,
        the mean of the next roi; `shrunk_std`, its standard deviation; `shrunk_gain` and `shrunk_loss`, its
        mean magnitude (not negative) where it is a gain and where it is a loss. Before anybody has gained,
        the gain is 0; before anybody has lost, the loss is 1, the whole capital: the cautious reading of no
        evidence. `shrunk_sharpe` is the mean over the standard deviation, 20 at most either way.
    """
    profitable = (roi > 0).astype(float)
    usual_bets = history.mean(bets)
    edge = ratio(population.total(roi), population.total(bets))
    shrunk_edge = (history.total(roi) + PRIOR_BETS * edge) / (history.total(bets) + PRIOR_BETS)
    expected = shrunk_edge * usual_bets
    std = np.sqrt(_variance(roi, bets, history, population))
    share = history.total(profitable) + PRIOR_SHARE_WINDOWS * population.mean(profitable)
    return {
        "shrunk_profitable_share": share / (history.windows_seen + PRIOR_SHARE_WINDOWS),
        "shrunk_sharpe": np.clip(expected / np.maximum(std, SMALLEST_STD), -LARGEST_SHARPE, LARGEST_SHARPE),
        SHRUNK_RETURN: expected,
        SHRUNK_STD: std,
        SHRUNK_GAIN: _size(np.maximum(roi, 0.0), bets, history, population, unknown=0.0),
        SHRUNK_LOSS: _size(np.maximum(-roi, 0.0), bets, history, population, unknown=1.0),
    }


def _variance(roi: np.ndarray, bets: np.ndarray, history: History, population: Population) -> np.ndarray:
    """Own variance plus `PRIOR_WINDOWS` windows of the population's variance per bet, for the usual bets."""
    seen = history.windows_seen
    repeated = seen > 1
    # A deviation from a mean of n windows that includes it is too small by (n - 1) / n.
    deviation = np.where(repeated, (roi - history.mean(roi)) ** 2 * ratio(seen, seen - 1), 0.0)
    while_all_are_new = ratio(population.total(roi**2), population.total(bets))
    per_bet = ratio(population.total(deviation), population.total(bets * repeated), while_all_are_new)
    prior = PRIOR_WINDOWS * per_bet * history.mean(bets)
    return (seen * history.variance(roi) + prior) / (seen - 1 + PRIOR_WINDOWS)


def _size(sizes: np.ndarray, bets: np.ndarray, history: History, population: Population, unknown: float) -> np.ndarray:
    """Mean of the positive `sizes`, own and `PRIOR_WINDOWS` of the population's, for the usual bets."""
    scale = np.sqrt(np.maximum(bets, 1.0))
    happened = np.where(sizes > 0, scale, 0.0)
    usual = history.mean(scale)
    weight = PRIOR_WINDOWS * usual
    known = population.total(happened) > 0
    typical = ratio(population.total(sizes), population.total(happened))
    shrunk = usual * (history.total(sizes) + weight * typical) / (history.total(happened) + weight)
    return np.where(known, shrunk, unknown)
