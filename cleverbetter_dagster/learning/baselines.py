"""What a model has to beat: four simple forecasts, fitted on the past only like any model.

A rate baseline answers with the frequency of profit among past rows of the same kind; a logistic baseline
draws one line through a few features. All answer with probabilities, so that every metric applies to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cleverbetter_dagster.dataset.estimates import SHRUNK_RETURN
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.schema import METRICS, ROI
from cleverbetter_dagster.learning.ensemble.base_learners import LogisticLearner, require_both_classes
from cleverbetter_dagster.learning.ensemble.params import BaseParams
from cleverbetter_dagster.learning.model import feature_matrix

WEAK_RIDGE = BaseParams(logistic_c=1.0)


class FittedBaseline(Protocol):
    """A baseline that can forecast."""

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Probabilities as scikit-learn lays them out, float[n, 2].

        Raises:
            LearningError: a column the baseline needs is missing or infinite.
        """


class Baseline(Protocol):
    """A simple way of forecasting."""

    @property
    def name(self) -> str:
        """Key in `BASELINES`."""

    @property
    def title(self) -> str:
        """Name a person reads."""

    def fit(self, examples: Examples) -> FittedBaseline:
        """Learn from the past of the rows to forecast: train and validation together."""


@dataclass(frozen=True)
class RateBaseline:
    """Frequency of profit among past rows on the same side of zero; without a feature, among all."""

    name: str
    title: str
    feature: str | None

    def fit(self, examples: Examples) -> "FittedRates":
        """Rates with one success and one failure added to each side (Laplace), so that none is certain."""
        positive = _is_positive(examples.X, self.feature)
        rates = [(examples.y[side].sum() + 1.0) / (np.count_nonzero(side) + 2.0) for side in (~positive, positive)]
        return FittedRates(self.feature, below=float(rates[0]), above=float(rates[1]))


@dataclass(frozen=True)
class FittedRates:
    """P(profit) where the feature is at or `below` zero, or missing, and where it is `above`."""

    feature: str | None
    below: float
    above: float

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Probabilities, float[n, 2]."""
        probability = np.where(_is_positive(X, self.feature), self.above, self.below)
        return np.column_stack([1.0 - probability, probability])


@dataclass(frozen=True)
class LogisticBaseline:
    """Logistic regression on a few features: imputed, robustly scaled and clipped within its own fit."""

    name: str
    title: str
    features: tuple[str, ...]

    def fit(self, examples: Examples) -> "FittedLogistic":
        """Fit the line.

        Raises:
            LearningError: labels of one class, or a feature is missing.
        """
        require_both_classes(examples.y)
        learner = LogisticLearner(WEAK_RIDGE, seed=0, threads=1)
        with threadpool_limits(1):
            learner.fit(feature_matrix(examples.X, self.features), examples.y)
        return FittedLogistic(self.features, learner)


@dataclass(frozen=True, eq=False)
class FittedLogistic:
    """A fitted line through `features`."""

    features: tuple[str, ...]
    learner: LogisticLearner

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Probabilities, float[n, 2]."""
        probability = self.learner.probability(feature_matrix(X, self.features))
        return np.column_stack([1.0 - probability, probability])


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        baseline.name: baseline
        for baseline in (
            RateBaseline("base_rate", "Base rate", None),
            RateBaseline("persistence", "Persistence (sign of the last window)", ROI),
            LogisticBaseline("shrunk_return", "Shrunk bet-weighted return", (SHRUNK_RETURN,)),
            LogisticBaseline("logistic", "Logistic regression on the six metrics", METRICS),
        )
    }
)


def _is_positive(X: pd.DataFrame, feature: str | None) -> np.ndarray:
    if feature is None:
        return np.zeros(len(X), dtype=bool)
    return feature_matrix(X, (feature,))[:, 0] > 0
