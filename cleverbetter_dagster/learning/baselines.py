"""What a model has to beat: four simple forecasts, fitted on the past only like any model.

A rate baseline answers with the frequency of profit among past rows of the same kind; a logistic baseline draws one
line through a few features. All answer with probabilities, so that every metric applies to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.estimates import SHRUNK_RETURN
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.schema import METRICS, ROI
from cleverbetter_dagster.learning.ensemble.base_learners import LogisticLearner
from cleverbetter_dagster.learning.ensemble.params import BaseParams
from cleverbetter_dagster.learning.family import require_both_classes
from cleverbetter_dagster.learning.model import feature_matrix
from cleverbetter_dagster.learning.thread_limits import at_most


class RateLearner:
    """Frequency of profit on each side of zero of one feature; without a feature, of all rows."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        """Rates with one success and one failure added to each side (Laplace), so that none is certain."""
        above = _is_above_zero(X)
        self.rates = [(y[side].sum() + 1.0) / (np.count_nonzero(side) + 2.0) for side in (~above, above)]

    def probability(self, X: np.ndarray) -> np.ndarray:
        below, above = self.rates
        return np.where(_is_above_zero(X), above, below)


class LineLearner(LogisticLearner):
    """A weakly penalised logistic regression: imputed, robustly scaled and clipped within its own fit."""

    def __init__(self) -> None:
        super().__init__(BaseParams(logistic_c=1.0), seed=0, threads=1)

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        """Fit the line.

        Raises:
            LearningError: labels of one class.
        """
        require_both_classes(y)
        with at_most(1):
            super().fit(X, y)


@dataclass(frozen=True)
class Baseline:
    """A simple way of forecasting, from a few features."""

    features: tuple[str, ...]
    make: type[RateLearner] | type[LineLearner]

    def fit(self, examples: Examples) -> "FittedBaseline":
        """Learn from the past of the rows to forecast: train and validation together.

        Raises:
            LearningError: a feature is missing or infinite, or the line's labels are of one class.
        """
        learner = self.make()
        learner.fit(feature_matrix(examples.X, self.features), examples.y)
        return FittedBaseline(self.features, learner)


@dataclass(frozen=True, eq=False)
class FittedBaseline:
    """A baseline that can forecast."""

    features: tuple[str, ...]
    learner: RateLearner | LineLearner

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Probabilities as scikit-learn lays them out, float[n, 2].

        Raises:
            LearningError: a feature is missing or infinite.
        """
        probability = self.learner.probability(feature_matrix(X, self.features))
        return np.column_stack([1.0 - probability, probability])


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "base_rate": Baseline((), RateLearner),
        "persistence": Baseline((ROI,), RateLearner),
        "shrunk_return": Baseline((SHRUNK_RETURN,), LineLearner),
        "logistic": Baseline(METRICS, LineLearner),
    }
)
"""By name. `persistence` goes by the sign of the last window, `logistic` by the six metrics."""


def _is_above_zero(X: np.ndarray) -> np.ndarray:
    """Whether the one feature is above zero, bool[n]; False if it is missing or there is none."""
    return np.any(X > 0, axis=1)
