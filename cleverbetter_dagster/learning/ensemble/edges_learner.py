"""The ensemble's member that reads strategies: what all of them tell of the next window, as a probability.

Trees that are given the same numbers do not find it. In the stack it is worth 0.003 of AUC and 0.0009 of the Brier
score on real rows; alone, or with more weight, it would be worse where market features tell edges directly.

It is a logistic regression that starts as what the process over strategies says, P(next return > 0) = Phi(mean /
deviation), and learns from labels how much surer or less sure to be, and what lopsided returns do: few and large gains
of those who back outsiders, few and large losses of those who lay.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy.special import expit

from cleverbetter_dagster.dataset.edges.next_window import EDGE_SHARPE, EDGE_STD
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.shrunk_logistic import INTERCEPT_PENALTY, take_in

READ = (EDGE_SHARPE, EDGE_STD, SHRUNK_GAIN, SHRUNK_LOSS)

PROBIT_SLOPE = 1.702
"""expit(1.702 x) differs from Phi(x) by less than 0.01 (Camilli, Journal of Educational Statistics 19, 1994)."""

LARGEST_SHARPE, LARGEST_SCORE = 6.0, 4.0
"""Where a mean over its deviation, or a scaled logarithm, says no more."""

SMALLEST_SIZE = 1e-4
"""Returns below this are one hundredth of a per cent of capital: none at all."""


class EdgesLearner:
    """A logistic regression on the mean over its deviation, the deviation, and gains over losses, both as logarithms.

    Args:
        names: of the columns it will be given.
        penalty: of the squared distance from the process over strategies, >= 0; one row weighs about 0.2 z^2.

    Raises:
        LearningError: a column that it reads is missing.
    """

    def __init__(self, names: Sequence[str], penalty: float) -> None:
        absent = [name for name in READ if name not in names]
        if absent:
            raise LearningError(f"No feature {', '.join(absent)}: the ensemble needs them. Build the panel anew.")
        self.columns, self.n_features = [list(names).index(name) for name in READ], len(names)
        self.penalty = penalty

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        """Fit to rows, float64[n, columns], and their labels 0 or 1."""
        logs = self._logs(X)
        self.middle, self.spread = np.median(logs, axis=0), logs.std(axis=0)
        pull = np.diag([self.penalty] * 3 + [INTERCEPT_PENALTY])
        start = np.array([PROBIT_SLOPE, 0.0, 0.0, 0.0])
        self.theta, self.precision = take_in(start, pull, self._inputs(X), y)

    def weigh(self, X: np.ndarray, y: np.ndarray) -> None:
        """Nothing to do: it knows how much its weights rest on."""

    def updated(self, X: np.ndarray, y: np.ndarray) -> Self:
        """The learner after further rows; this one stays as it is."""
        fresh = type(self).__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        fresh.theta, fresh.precision = take_in(self.theta, self.precision, self._inputs(X), y)
        return fresh

    def probability(self, X: np.ndarray) -> np.ndarray:
        """Of each row by itself, float64[n]."""
        terms = np.ascontiguousarray(self._inputs(X) * self.theta[:-1])
        return expit(terms.sum(axis=1) + self.theta[-1])

    def importance(self) -> np.ndarray:
        """Absolute weights, those of gain over loss half to each, float64[columns]."""
        shares, (sharpe, deviation, size) = np.zeros(self.n_features), np.abs(self.theta[:-1])
        shares[self.columns] = sharpe, deviation, size / 2.0, size / 2.0
        return shares

    def _logs(self, X: np.ndarray) -> np.ndarray:
        sizes = np.maximum(X[:, self.columns[1:]], 0.0) + SMALLEST_SIZE
        deviation, gain, loss = np.log(sizes).T
        return np.column_stack([deviation, gain - loss])

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        scaled = (self._logs(X) - self.middle) / np.where(self.spread > 0, self.spread, 1.0)
        sharpe = np.clip(X[:, self.columns[0]], -LARGEST_SHARPE, LARGEST_SHARPE)
        return np.column_stack([sharpe, np.clip(scaled, -LARGEST_SCORE, LARGEST_SCORE)])
