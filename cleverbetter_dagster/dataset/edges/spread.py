"""The variance of a bet's return, strategy by strategy: its own and, while its windows are few, that of its like.

Variances are shrunk toward a ridge regression of their logarithms on the scores, by as many windows as the differences
that the regression leaves are worth (Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004).
Returns have heavy tails, so a strategy's own variance counts like one of fewer windows, by a factor that the data tell.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

SMALLEST = 1e-10
"""Where no return has differed yet."""

FEWEST_STRATEGIES = 10
"""With fewer strategies of two windows or more, all are shrunk toward one pooled variance."""

PRIOR_WINDOWS = 2.0
"""Windows of the pooled variance that are mixed into a strategy's own while these are so few."""

LEAST_DIFFERENCE = 0.02
"""Smallest variance of true log variances around the regression: no strategy's own windows count for nothing."""

ROUNDS = 5


@dataclass(frozen=True, eq=False)
class Moments:
    """Returns of n strategies so far, float64[n] each.

    Attributes:
        windows: with bets.
        bets: their sum.
        roi: its sum.
        squares: sum of roi squared over bets.
    """

    windows: np.ndarray
    bets: np.ndarray
    roi: np.ndarray
    squares: np.ndarray

    @property
    def freedom(self) -> np.ndarray:
        """Windows beyond the first."""
        return np.maximum(self.windows - 1.0, 0.0)

    @property
    def own_variance(self) -> np.ndarray:
        """Unbiased estimates from the own windows; 0 where there are not two."""
        explained = np.divide(self.roi**2, self.bets, out=np.zeros_like(self.bets), where=self.bets > 0)
        left = np.maximum(self.squares - explained, 0.0)
        return np.divide(left, self.freedom, out=np.zeros_like(left), where=self.freedom > 0)


@dataclass(frozen=True, eq=False)
class Spread:
    """The variance of the return of one bet.

    Attributes:
        known: of the strategies there are, float64[n], at least `SMALLEST`.
        ridge: intercept and weights of the logarithm, float64[1 + scores].
    """

    known: np.ndarray
    ridge: np.ndarray

    def of_new(self, scores: np.ndarray) -> np.ndarray:
        """Of strategies without results, from those like them, float64[n]."""
        return np.maximum(_like(self.ridge, scores), SMALLEST)


def spread_of(moments: Moments, scores: np.ndarray) -> Spread:
    """Variance of the return of one bet of each strategy.

    Args:
        moments: of n strategies.
        scores: that describe them, float64[n, scores].
    """
    own, freedom = moments.own_variance, moments.freedom
    measured = np.flatnonzero((freedom > 0) & (own > 0))
    if len(measured) < FEWEST_STRATEGIES:
        ridge = np.append(np.log(max(_pooled(moments), SMALLEST)), np.zeros(scores.shape[1]))
        worth, counted = PRIOR_WINDOWS, freedom
    else:
        ridge, difference, tails = _regression(own[measured], freedom[measured], scores[measured])
        worth, counted = _windows_worth(difference), freedom / tails
    known = (worth * _like(ridge, scores) + counted * own) / (worth + counted)
    return Spread(np.maximum(known, SMALLEST), ridge)


def _like(ridge: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.exp(ridge[0] + np.einsum("ij,j->i", scores, ridge[1:]))


def _pooled(moments: Moments) -> float:
    """Of all strategies; while none has two windows, the second moment."""
    freedom = moments.freedom.sum()
    if freedom > 0:
        return float((moments.freedom * moments.own_variance).sum() / freedom)
    return float(moments.squares.sum() / max(moments.windows.sum(), 1.0))


def _regression(own: np.ndarray, freedom: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Weights of the ridge, the variance of true logarithms around it, and how much heavier than normal tails are."""
    half = freedom / 2.0
    logs, sampling = np.log(own) - digamma(half) + np.log(half), polygamma(1, half)
    columns = np.column_stack([np.ones(len(scores)), scores])
    penalty = np.diag([0.0, *np.ones(scores.shape[1])])
    difference, tails = 1.0, 1.0
    for _ in range(ROUNDS):
        weight = 1.0 / (difference + tails * sampling)
        weighted = columns * weight[:, None]
        ridge = np.linalg.solve(weighted.T @ columns + penalty, np.einsum("ij,i->j", weighted, logs))
        left = (logs - np.einsum("ij,j->i", columns, ridge)) ** 2
        # As if one more strategy had shown 1 of each: equally old strategies do not tell the two apart.
        parts = np.column_stack([np.ones(len(sampling)), sampling])
        normal = (parts * (weight**2)[:, None]).T @ parts + np.eye(2)
        told = np.linalg.solve(normal, np.einsum("ij,i->j", parts, weight**2 * left) + 1.0)
        difference, tails = max(float(told[0]), LEAST_DIFFERENCE), max(float(told[1]), 1.0)
    return ridge, difference, tails


def _windows_worth(difference: float) -> float:
    """Windows after which a log variance is known to `difference`: 2x of trigamma(x), by its first two terms."""
    return (1.0 + np.sqrt(1.0 + 2.0 * difference)) / difference
