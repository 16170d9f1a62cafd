"""Logistic regression with non-negative weights, shrunk toward a guess: small enough to trust on few rows.

The meta-learner of the ensemble and the sigmoid calibrator are both this model; only the guess differs. `take_in` adds
later rows without the earlier ones. scikit-learn has none with a guess, a bound on the weights, or later rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

PROBABILITY_FLOOR = 1e-3
"""How far probabilities are kept from 0 and 1 before their log-odds are taken."""

INTERCEPT_PENALTY = 1.0


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities of any shape, after clipping them to `PROBABILITY_FLOOR`.

    >>> log_odds(np.array([0.5, 0.0])).round(3).tolist()
    [0.0, -6.907]
    """
    clipped = np.clip(probability, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return np.log(clipped) - np.log1p(-clipped)


def take_in(
    theta: np.ndarray, precision: np.ndarray, z: np.ndarray, y: np.ndarray, lowest: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Add rows to a logistic regression of which only the optimum and the curvature there are known.

    Minimises the summed log loss of the rows plus half the squared distance from `theta` in the metric
    `precision`: the Laplace approximation of all rows together (Spiegelhalter, Lauritzen, Networks 20, 1990).

    Args:
        theta: weights and, last, the intercept, float[k + 1].
        precision: curvature there, float[k + 1, k + 1], positive definite.
        z: float[n, k], finite; y: labels 0 or 1, [n].
        lowest: bound of the weights.

    Returns:
        The new optimum and the curvature there.
    """

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        margin = (z * at[:-1]).sum(axis=1) + at[-1]
        residual, away = expit(margin) - y, at - theta
        pull = (precision * away).sum(axis=1)
        value = np.logaddexp(0.0, margin).sum() - (y * margin).sum() + 0.5 * (away * pull).sum()
        return value, np.append((residual[:, None] * z).sum(axis=0), residual.sum()) + pull

    bounds = [(lowest, None)] * (len(theta) - 1) + [(None, None)]
    optimum = minimize(loss, theta, jac=True, method="L-BFGS-B", bounds=bounds).x
    return optimum, precision + curvature(optimum, z)


def curvature(theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Second derivative of the summed log loss by `theta`, float[k + 1, k + 1], for rows `z`, float[n, k]."""
    rows = np.column_stack([z, np.ones(len(z))])
    probability = expit((rows * theta).sum(axis=1))
    return (rows * (probability * (1.0 - probability))[:, None]).T @ rows


@dataclass(frozen=True)
class ShrunkLogistic:
    """P(y = 1) = expit(intercept + weights . z), weights >= 0.

    Attributes:
        precision: curvature of the loss at the weights and the intercept, float[k + 1, k + 1].
    """

    weights: tuple[float, ...]
    intercept: float
    precision: np.ndarray = field(compare=False, repr=False)

    @classmethod
    def fit(cls, z: np.ndarray, y: np.ndarray, guess: Sequence[float], penalty: float) -> Self:
        """Minimise the summed log loss plus half the penalty times the squared distance from the guess.

        Without rows the model is the guess. The intercept has a small penalty of its own, so that labels of one
        class give a finite model too.

        Args:
            z: float[n, k], finite.
            y: labels 0 or 1, [n].
            guess: k weights >= 0 to shrink to.
            penalty: >= 0, of the distance; one row weighs about 0.2 z^2.
        """
        pull = np.diag([*np.full(len(guess), penalty), INTERCEPT_PENALTY])
        return cls._of(*take_in(np.array([*guess, 0.0]), pull, z, y, lowest=0.0))

    def updated(self, z: np.ndarray, y: np.ndarray) -> Self:
        """The model after further rows, as if fitted on them and on all before."""
        return self._of(*take_in(np.array([*self.weights, self.intercept]), self.precision, z, y, lowest=0.0))

    @classmethod
    def _of(cls, theta: np.ndarray, precision: np.ndarray) -> Self:
        return cls(tuple(map(float, theta[:-1])), float(theta[-1]), precision)

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
