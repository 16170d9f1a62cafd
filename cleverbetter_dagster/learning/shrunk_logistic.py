"""Logistic regression with non-negative weights, shrunk toward a guess: small enough to trust on few rows.

The meta-learner of the ensemble and the sigmoid calibrator are both this model; only the guess differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

PROBABILITY_FLOOR = 1e-3
"""How far probabilities are kept from 0 and 1 before their log-odds are taken: no learner knows more."""

INTERCEPT_PENALTY = 1.0


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities of any shape, after clipping them to `PROBABILITY_FLOOR`.

    >>> log_odds(np.array([0.5, 0.0])).round(3).tolist()
    [0.0, -6.907]
    """
    clipped = np.clip(probability, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return np.log(clipped) - np.log1p(-clipped)


@dataclass(frozen=True)
class ShrunkLogistic:
    """P(y = 1) = expit(intercept + weights . z), weights >= 0."""

    weights: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(cls, z: np.ndarray, y: np.ndarray, guess: Sequence[float], penalty: float) -> Self:
        """Minimise the summed log loss plus half the penalty times the squared distance from the guess.

        Without rows the guess stands. The intercept has a faint penalty of its own, so that labels of one
        class give a finite model too.

        Args:
            z: float[n, k], finite.
            y: labels 0 or 1, [n].
            guess: k weights >= 0 to shrink to.
            penalty: >= 0; the pull of the guess. A row pulls with about 0.2 z^2.
        """
        start = np.array([*guess, 0.0])
        pull = np.array([*np.full(len(guess), penalty), INTERCEPT_PENALTY])

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            margin = (z * theta[:-1]).sum(axis=1) + theta[-1]
            residual = expit(margin) - y
            away = theta - start
            value = np.logaddexp(0.0, margin).sum() - (y * margin).sum() + 0.5 * (pull * away**2).sum()
            return value, np.append((residual[:, None] * z).sum(axis=0), residual.sum()) + pull * away

        bounds = [(0.0, None)] * len(guess) + [(None, None)]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return cls(tuple(map(float, found.x[:-1])), float(found.x[-1]))

    def margin(self, z: np.ndarray) -> np.ndarray:
        """Log-odds of each row of `z`, float[n].

        Columns are added one after the other: a matrix product may round a row differently by its position.
        """
        total = np.full(len(z), self.intercept)
        for column, weight in enumerate(self.weights):
            total = total + weight * z[:, column]
        return total

    def probability(self, z: np.ndarray) -> np.ndarray:
        """P(y = 1) of each row of `z`, float[n] in (0, 1)."""
        return expit(self.margin(z))
