"""The calibrated probability an agent is given: two unlike base learners in equal parts, always forward in time.

A row is predicted only by learners and calibrators fitted on labels known before it: the rows of train fold by fold,
validation by models of train, and later rows by models of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.learning.calibration import Calibrator, fit_calibrator
from cleverbetter_dagster.learning.ensemble.base_learners import (
    BaseLearner,
    base_probabilities,
    fit_base_learners,
    updated_base_learners,
    weigh_base_learners,
)
from cleverbetter_dagster.learning.model import feature_matrix
from cleverbetter_dagster.learning.rl_agent.params import RlAgentParams
from cleverbetter_dagster.learning.shrunk_logistic import log_odds

LEARNERS = ("lightgbm", "logistic")


@dataclass(frozen=True, eq=False)
class ForwardProbability:
    """Fitted learners, and the calibrator of their common score."""

    learners: Mapping[str, BaseLearner]
    calibrator: Calibrator

    def opinions(self, values: np.ndarray) -> np.ndarray:
        """Raw probabilities of the learners, float[n, learners], of features float[n, k]."""
        return base_probabilities(self.learners, values)

    def of(self, opinions: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float[n]."""
        return self.calibrator.probability(common_score(opinions))

    def updated(self, values: np.ndarray, y: np.ndarray, judging: np.ndarray) -> Self:
        """The probability after further rows.

        Args:
            values: features of the rows, float[n, k]; y: their labels, [n].
            judging: positions, in order of time, of those decided when every label learned from was known. Scored by
                the learners so far, they replace the calibrator's oldest rows.
        """
        score = common_score(self.opinions(values[judging])) if len(judging) else np.empty(0)
        calibrator = self.calibrator.updated(score, y[judging])
        return type(self)(updated_base_learners(self.learners, values, y), calibrator)


@dataclass(frozen=True, eq=False)
class ForwardView:
    """Examples, each with the probability that models of its past give, float[n]."""

    examples: Examples
    probability: np.ndarray


def common_score(opinions: np.ndarray) -> np.ndarray:
    """The learners' mean log-odds as a probability, float[n]."""
    return expit(log_odds(opinions).mean(axis=1))


def learn_forward(
    train: Examples, validation: Examples, spec: RlAgentParams, seed: int, threads: int
) -> tuple[ForwardView, ForwardView, ForwardProbability]:
    """Train and validation with the probabilities of their time, and the model for later rows.

    Raises:
        NotEnoughRows: fewer than two distinct decision times in train.
        LearningError: the labels before a fold are all of one class.
    """
    names = tuple(train.X.columns)
    earlier, calibrator = _view_of_train(train, spec, seed, threads)
    past = _fit_learners(train, spec, seed, threads)
    score = common_score(base_probabilities(past, feature_matrix(validation.X, names)))
    later = ForwardView(validation, calibrator.probability(score))
    both = pooled(train, validation)
    learners = _fit_learners(both, spec, seed, threads)
    weigh_base_learners(learners, feature_matrix(both.X, names), both.y)
    return earlier, later, ForwardProbability(learners, fit_calibrator(score, validation.y))


def _fit_learners(examples: Examples, spec: RlAgentParams, seed: int, threads: int) -> dict[str, BaseLearner]:
    values = feature_matrix(examples.X, tuple(examples.X.columns))
    return fit_base_learners(values, examples.y, spec.learners, dict.fromkeys(LEARNERS, seed), threads)


def _view_of_train(train: Examples, spec: RlAgentParams, seed: int, threads: int) -> tuple[ForwardView, Calibrator]:
    """Train with the probabilities of its time, and a calibrator fitted on all of them.

    The first of `n_folds` + 1 blocks of time is only learned from, so its rows have no probability.
    """
    n_folds = max(min(spec.n_folds, train.decision_time.nunique() - 1), 1)
    values = feature_matrix(train.X, tuple(train.X.columns))
    seen = np.empty(0, dtype=np.int64)
    score, probability = np.empty(0), np.empty(0)
    for fit, fold in temporal_folds(train.decision_time, train.label_time, n_folds):
        learners = _fit_learners(train.take(fit), spec, seed, threads)
        raw = common_score(base_probabilities(learners, values[fold]))
        known = np.isin(seen, fit)
        calibrator = fit_calibrator(score[known], train.y[seen[known]])
        probability = np.append(probability, calibrator.probability(raw))
        seen, score = np.append(seen, fold), np.append(score, raw)
    return ForwardView(train.take(seen), probability), fit_calibrator(score, train.y[seen])
