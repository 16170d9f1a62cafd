"""The ensemble's base learners: four unlike ways to a raw probability, each deterministic by seed.

Every learner takes NaN and preprocesses inside its own fit. The bits of a row's probability depend on that row alone:
no sum depends on the order of threads, no matrix product on the row's position.

After `weigh`, a fitted learner knows how much evidence its parts rest on, and `updated` adds rows to it without the
earlier ones: trees keep their splits and move their leaves, the linear model moves its weights. Neither library does
that: `warm_start` and LightGBM's `refit` forget how much the earlier rows weigh.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import RobustScaler

from cleverbetter_dagster.learning.ensemble.edges_learner import EdgesLearner
from cleverbetter_dagster.learning.ensemble.leaf_evidence import (
    forest_with,
    histogram_index,
    histogram_leaves,
    histogram_with,
    lightgbm_index,
    lightgbm_leaves,
    lightgbm_with,
)
from cleverbetter_dagster.learning.ensemble.params import BaseParams
from cleverbetter_dagster.learning.family import require_both_classes
from cleverbetter_dagster.learning.shrunk_logistic import curvature, take_in
from cleverbetter_dagster.learning.thread_limits import at_most

OUTLIER_CLIP = 5.0
"""Interquartile ranges from the median beyond which a scaled feature says no more to a linear model."""


class ForestLearner:
    """Extremely randomised trees on small samples with large leaves: cheap, smooth, unlike the boosters."""

    def __init__(self, params: BaseParams, seed: int, threads: int) -> None:
        self.model = ExtraTreesClassifier(
            n_estimators=params.forest_trees,
            min_samples_leaf=params.forest_leaf_rows,
            max_samples=params.forest_sample,
            max_features=params.feature_fraction,
            bootstrap=True,
            n_jobs=threads,
            random_state=seed,
        )

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        self.model.fit(X, y)
        # Threads would add up the trees' votes in the order they finish, and round differently each time.
        self.model.n_jobs = 1

    def weigh(self, X: np.ndarray, y: np.ndarray) -> None:
        """Nothing to do: a forest's leaves know how many rows they hold."""

    def updated(self, X: np.ndarray, y: np.ndarray) -> Self:
        fresh = copy.copy(self)
        fresh.model = forest_with(self.model, X, y)
        return fresh

    def probability(self, X: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(X)[:, 1]

    def importance(self) -> np.ndarray | None:
        return self.model.feature_importances_


class HistogramLearner:
    """scikit-learn's histogram gradient boosting: every split draws its own share of the features."""

    def __init__(self, params: BaseParams, seed: int, threads: int) -> None:  # noqa: ARG002 - see fit_base_learners
        self.model = HistGradientBoostingClassifier(
            max_iter=params.n_estimators,
            learning_rate=params.learning_rate,
            max_depth=params.max_depth,
            max_leaf_nodes=None,
            min_samples_leaf=params.min_leaf_rows,
            l2_regularization=params.l2,
            max_features=params.feature_fraction,
            max_bins=64,
            early_stopping=False,
            random_state=seed,
        )

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        # scikit-learn 1.9 cannot bin a column without a single value; early folds have some.
        self.measured = ~np.isnan(X).all(axis=0)
        self.model.fit(X[:, self.measured], y)
        del self.model._feature_subsample_rng  # only a fit draws from it

    def weigh(self, X: np.ndarray, y: np.ndarray) -> None:  # noqa: ARG002 - weights do not depend on labels
        self.leaves = histogram_leaves(self.model, X[:, self.measured])

    def updated(self, X: np.ndarray, y: np.ndarray) -> Self:
        fresh, index = copy.copy(self), histogram_index(self.model, X[:, self.measured])
        fresh.leaves = self.leaves.updated(index, y, self.model.learning_rate, self.model.l2_regularization)
        fresh.model = histogram_with(self.model, fresh.leaves.steps)
        return fresh

    def probability(self, X: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(X[:, self.measured])[:, 1]

    def importance(self) -> None:
        """It cannot tell."""


class LightGBMLearner:
    """LightGBM: leaf-wise trees on bagged rows and a share of the features."""

    def __init__(self, params: BaseParams, seed: int, threads: int) -> None:
        from lightgbm import LGBMClassifier

        self.learning_rate, self.l2 = params.learning_rate, params.l2
        self.model = LGBMClassifier(
            n_estimators=params.n_estimators,
            learning_rate=params.learning_rate,
            max_depth=params.max_depth,
            num_leaves=min(2**params.max_depth, 31),
            min_child_samples=params.min_leaf_rows,
            reg_lambda=params.l2,
            subsample=0.7,
            subsample_freq=1,
            colsample_bytree=params.feature_fraction,
            max_bin=63,
            random_state=seed,
            n_jobs=threads,
            deterministic=True,
            force_row_wise=True,
            verbosity=-1,
        )

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        self.booster = self.model.fit(X, y).booster_
        del self.model  # it holds the booster once more

    def weigh(self, X: np.ndarray, y: np.ndarray) -> None:
        self.leaves = lightgbm_leaves(self.booster, X, y)

    def updated(self, X: np.ndarray, y: np.ndarray) -> Self:
        fresh, index = copy.copy(self), lightgbm_index(self.booster, X)
        fresh.leaves = self.leaves.updated(index, y, self.learning_rate, self.l2)
        fresh.booster = lightgbm_with(self.booster, fresh.leaves)
        return fresh

    def probability(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.booster.predict(X, num_threads=1))

    def importance(self) -> np.ndarray | None:
        return self.booster.feature_importance("gain")


class LogisticLearner:
    """Ridge logistic regression on imputed, robustly scaled and clipped features."""

    def __init__(self, params: BaseParams, seed: int, threads: int) -> None:  # noqa: ARG002 - nothing random here
        self.scaler: Pipeline = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), RobustScaler()
        )
        self.model = LogisticRegression(C=params.logistic_c, max_iter=1000)

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        self.scaler.fit(X)
        self.model.fit(self._scaled(X), y)

    def weigh(self, X: np.ndarray, y: np.ndarray) -> None:  # noqa: ARG002 - curvature does not depend on labels
        self.theta = np.append(self.model.coef_[0], self.model.intercept_)
        penalty = np.diag([*np.full(len(self.theta) - 1, 1.0 / self.model.C), 0.0])
        self.precision = penalty + curvature(self.theta, self._scaled(X))

    def updated(self, X: np.ndarray, y: np.ndarray) -> Self:
        fresh = copy.copy(self)
        fresh.theta, fresh.precision = take_in(self.theta, self.precision, self._scaled(X), y)
        fresh.model = copy.copy(self.model)
        fresh.model.coef_, fresh.model.intercept_ = fresh.theta[None, :-1], fresh.theta[-1:]
        return fresh

    def probability(self, X: np.ndarray) -> np.ndarray:
        terms = np.ascontiguousarray(self._scaled(X) * self.model.coef_[0])
        return expit(terms.sum(axis=1) + self.model.intercept_[0])

    def importance(self) -> np.ndarray | None:
        return np.abs(self.model.coef_[0])

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        return np.clip(self.scaler.transform(X), -OUTLIER_CLIP, OUTLIER_CLIP)


BaseLearner = ForestLearner | HistogramLearner | LightGBMLearner | LogisticLearner | EdgesLearner

BASE_LEARNERS: Mapping[str, Callable[[BaseParams, int, int], BaseLearner]] = {
    "forest": ForestLearner,
    "histogram": HistogramLearner,
    "lightgbm": LightGBMLearner,
    "logistic": LogisticLearner,
}


def learner_seeds(seed: int) -> dict[str, int]:
    """A seed of its own for every base learner."""
    seeds = np.random.SeedSequence(seed).generate_state(len(BASE_LEARNERS)) % 2**31
    return dict(zip(BASE_LEARNERS, map(int, seeds), strict=True))


def fit_base_learners(
    X: np.ndarray, y: np.ndarray, params: BaseParams, seeds: Mapping[str, int], threads: int
) -> dict[str, BaseLearner]:
    """Fit base learners to the same rows.

    Args:
        X: float64[n, features], NaN where missing.
        y: labels 0 or 1, [n].
        params: hyperparameters.
        seeds: by name of the learner: which to fit.
        threads: most threads any of them uses. Histogram boosting takes what the OpenMP pool has, so the pool
            is limited; BLAS keeps to one, which rounds the same everywhere.

    Raises:
        LearningError: the labels are all of one class.
    """
    require_both_classes(y)
    learners = {name: BASE_LEARNERS[name](params, seed, threads) for name, seed in seeds.items()}
    with at_most({"openmp": threads, "blas": 1}):
        for learner in learners.values():
            learner.fit(X, y)
    return learners


def weigh_base_learners(learners: Mapping[str, BaseLearner], X: np.ndarray, y: np.ndarray) -> None:
    """Make learners, just fitted on these rows, ready for `updated_base_learners`."""
    with at_most(1):
        for learner in learners.values():
            learner.weigh(X, y)


def updated_base_learners(learners: Mapping[str, BaseLearner], X: np.ndarray, y: np.ndarray) -> dict[str, BaseLearner]:
    """The learners after further rows, of any classes, on one thread; `learners` stay as they are."""
    with at_most(1):
        return {name: learner.updated(X, y) for name, learner in learners.items()}


def base_probabilities(learners: Mapping[str, BaseLearner], X: np.ndarray) -> np.ndarray:
    """Raw probabilities of the learners, float[n, learners], on one thread."""
    with at_most(1):
        return np.column_stack([learner.probability(X) for learner in learners.values()])


def shares_of_features(
    learners: Mapping[str, BaseLearner], weights: Sequence[float], names: Sequence[str]
) -> pd.Series:
    """Weighted mean of the learners' own shares: float >= 0, sums to 1, index `names`; equal where none can tell.

    Impurity decrease in the forest, gain in LightGBM, absolute weight of a scaled feature in the linear model;
    histogram boosting cannot tell.
    """
    shares = np.zeros(len(names))
    for weight, learner in zip(weights, learners.values(), strict=True):
        importance = learner.importance()
        if importance is not None and importance.sum() > 0:
            shares += weight * importance / importance.sum()
    total = shares.sum()
    return pd.Series(shares / total if total > 0 else 1 / len(shares), index=list(names))
