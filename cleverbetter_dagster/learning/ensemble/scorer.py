"""Cheap trials of the ensemble: each member is fitted once a fold, and again only if a trial changed it.

A full fit of the ensemble fits every member five times a fold. Here a member is fitted once a fold, on all of
the fold's past, and the meta-learner of a fold is fitted on the members' predictions of the folds before it.
Further:

- forest and logistic members are cached, with their own hyperparameters rounded to a coarse grid, so that most
  trials find theirs fitted already;
- the two boosters share their hyperparameters, so LightGBM stands for both; it is binned once a fold;
- boosting stops early, and one number of rounds for all folds is chosen from the curves.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.learning.ensemble.base_learners import BASE_LEARNERS, BaseLearner, LightGBMLearner
from cleverbetter_dagster.learning.ensemble.edges_learner import EdgesLearner
from cleverbetter_dagster.learning.ensemble.members import EDGES, member_weights
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster.learning.family import checked_params, require_both_classes
from cleverbetter_dagster.learning.model import Params, feature_matrix
from cleverbetter_dagster.learning.scoring import (
    MEASURES,
    NO_RANGES,
    FoldScores,
    OneFold,
    OnFold,
    Ranges,
    StudySpec,
    never_prune,
    scores_of,
    scoring_folds,
)
from cleverbetter_dagster.learning.shrunk_logistic import ShrunkLogistic, log_odds
from cleverbetter_dagster.learning.thread_limits import at_most

if TYPE_CHECKING:
    import lightgbm

PATIENCE_ROUNDS = 30
ROUNDS = "n_estimators"

CACHED: Mapping[str, Mapping[str, float]] = {
    "forest": {"forest_leaf_rows": 2, "feature_fraction": 2, "forest_trees": 2, "forest_sample": 2},
    "logistic": {"logistic_c": 4},
    EDGES: {},
}
"""Members fitted once for many trials: their hyperparameters, each with the ratio between the points of its grid."""

Predictions = tuple[np.ndarray, ...]
"""Probabilities of the scored rows and of the rows fitted on."""


class StackScorer:
    """Scores settings of the ensemble, and caches what it fitted.

    Args:
        examples: train and validation together.
        spec: folds, embargo, metric, seed and threads.
        anchor: a point the coarse grids go through: the defaults, or the values fixed by hand.
    """

    tuned_inside = frozenset({ROUNDS})

    def __init__(self, examples: Examples, spec: StudySpec, anchor: Params) -> None:
        self.spec, self.anchor = spec, checked_params(EnsembleParams, anchor, "ensemble")
        self.names, self.y = tuple(examples.X.columns), examples.y
        self.values = feature_matrix(examples.X, self.names)
        self.folds = scoring_folds(examples, spec)
        for fit, _ in self.folds:
            require_both_classes(self.y[fit])
        self.cache: dict[tuple[str, int, EnsembleParams], Predictions] = {}
        self.binned: dict[int, tuple[lightgbm.Dataset, lightgbm.Dataset]] = {}

    def score(self, params: Params, ranges: Ranges = NO_RANGES, on_fold: OnFold = never_prune) -> FoldScores:
        """As `Scorer.score`; the rounds chosen are in `chosen`.

        Raises:
            LearningError: a parameter is unknown or out of range.
        """
        setting = checked_params(EnsembleParams, params, "ensemble")
        fewest = int(ranges[ROUNDS][0]) if ROUNDS in ranges else None
        boosters, curves = [], []
        with at_most({"openmp": self.spec.threads, "blas": 1}):
            for number in range(len(self.folds)):
                booster, curve = self._boost(number, setting, fewest)
                boosters.append(booster)
                curves.append(curve)
                rounds = _best_rounds(curves, fewest) if fewest else setting.n_estimators
                if number < len(self.folds) - 1:
                    on_fold(number, self._so_far(setting, boosters, rounds))
            folds = self._scored(setting, boosters, rounds)
        return scores_of(folds, {ROUNDS: rounds} if fewest else {})

    def _boost(self, number: int, params: EnsembleParams, fewest: int | None) -> tuple["lightgbm.Booster", np.ndarray]:
        """LightGBM on a fold, and its log loss on the scored rows after each round; with `fewest`, it stops early."""
        import lightgbm

        if number not in self.binned:
            self.binned[number] = self._bin(number)
        fitted, scored = self.binned[number]
        losses: dict[str, dict[str, list[float]]] = {}
        callbacks = [lightgbm.record_evaluation(losses)]
        if fewest:
            callbacks.append(lightgbm.early_stopping(max(PATIENCE_ROUNDS, fewest), verbose=False))
        # Kept as it was trained: otherwise the trees after the fold's own best round are thrown away.
        booster = lightgbm.train(
            boosting_params(params, self.spec),
            fitted,
            params.n_estimators,
            [scored],
            ["fold"],
            keep_training_booster=True,
            callbacks=callbacks,
        )
        return booster, np.array(losses["fold"]["binary_logloss"])

    def _bin(self, number: int) -> tuple["lightgbm.Dataset", "lightgbm.Dataset"]:
        import lightgbm

        fit, score = self.folds[number]
        params = boosting_params(self.anchor, self.spec)
        fitted = lightgbm.Dataset(self.values[fit], self.y[fit], params=params).construct()
        return fitted, fitted.create_valid(self.values[score], self.y[score], params=params).construct()

    def _blend(
        self, params: EnsembleParams, boosters: list["lightgbm.Booster"], rounds: int
    ) -> list[tuple[ShrunkLogistic, np.ndarray]]:
        """For each fold boosted so far: a meta-learner of the folds before, and its probability of the scored rows."""
        blended: list[tuple[ShrunkLogistic, np.ndarray]] = []
        opinions: list[np.ndarray] = []
        for number, booster in enumerate(boosters):
            fit, score = self.folds[number]
            meta = self._meta(opinions, fit, params)
            boosted = _boosted(booster, self.values[score], rounds)
            opinions.append(_log_odds([*(scored for scored, _ in self._cached(number, params)), boosted]))
            blended.append((meta, meta.probability(opinions[-1])))
        return blended

    def _scored(self, params: EnsembleParams, boosters: list["lightgbm.Booster"], rounds: int) -> list[OneFold]:
        """All folds with the rows fitted on, which cost most to predict and do not prune."""
        folds: list[OneFold] = []
        for number, (meta, probability) in enumerate(self._blend(params, boosters, rounds)):
            fit, score = self.folds[number]
            boosted = _boosted(boosters[number], self.values[fit], rounds)
            fitted = _log_odds([*(own for _, own in self._cached(number, params)), boosted])
            folds.append(OneFold(self.y[score], probability, self.y[fit], meta.probability(fitted)))
        return folds

    def _so_far(self, params: EnsembleParams, boosters: list["lightgbm.Booster"], rounds: int) -> float:
        """Mean of the study's metric over the folds boosted so far."""
        measure, blended = MEASURES[self.spec.metric], self._blend(params, boosters, rounds)
        outcomes = [self.y[score] for _, score in self.folds]
        return float(np.mean([measure(y, probability) for y, (_, probability) in zip(outcomes, blended, strict=False)]))

    def _meta(self, opinions: list[np.ndarray], known: np.ndarray, params: EnsembleParams) -> ShrunkLogistic:
        """Fitted on earlier folds' predictions of rows whose labels were `known` when the fold starts."""
        guess = member_weights([*CACHED, "lightgbm"], params.edges_weight)
        rows = np.concatenate([np.empty(0, int), *(score for _, score in self.folds[: len(opinions)])])
        seen = np.isin(rows, known)
        stacked = np.vstack([np.empty((0, len(guess))), *opinions])[seen]
        return ShrunkLogistic.fit(stacked, self.y[rows[seen]], guess, params.meta_penalty)

    def _cached(self, number: int, params: EnsembleParams) -> list[Predictions]:
        """What the members of `CACHED` predict on a fold, each fitted unless it is in the cache."""
        fit, score = self.folds[number]
        predictions: list[Predictions] = []
        for name, grid in CACHED.items():
            coarse_values = {
                key: coarse(getattr(params, key), getattr(self.anchor, key), ratio) for key, ratio in grid.items()
            }
            own = self.anchor.model_copy(update=coarse_values)
            if (name, number, own) not in self.cache:
                learner = self._member(name, own)
                learner.fit(self.values[fit], self.y[fit])
                self.cache[name, number, own] = tuple(learner.probability(self.values[rows]) for rows in (score, fit))
            predictions.append(self.cache[name, number, own])
        return predictions

    def _member(self, name: str, params: EnsembleParams) -> BaseLearner:
        if name == EDGES:
            return EdgesLearner(self.names, params.edges_penalty)
        return BASE_LEARNERS[name](params, self.spec.seed, self.spec.threads)


def _boosted(booster: "lightgbm.Booster", values: np.ndarray, rounds: int) -> np.ndarray:
    return np.asarray(booster.predict(values, num_iteration=rounds, num_threads=1))


def _log_odds(members: list[np.ndarray]) -> np.ndarray:
    return log_odds(np.column_stack(members))


def boosting_params(params: EnsembleParams, spec: StudySpec) -> dict[str, Any]:
    """The parameters of `LightGBMLearner` as LightGBM's own training takes them; rounds are not among them.

    The smallest leaf differs from trial to trial, so no feature may be dropped on its account (`feature_pre_filter`).
    """
    model = LightGBMLearner(params, spec.seed, spec.threads).model.get_params()
    unused = {"n_estimators", "class_weight", "importance_type"}
    used = {name: value for name, value in model.items() if value is not None and name not in unused}
    return {**used, "objective": "binary", "feature_pre_filter": False}


def coarse(value: float, anchor: float, ratio: float) -> float:
    """The point nearest to `value` of the grid that goes from `anchor` in steps of `ratio`; shares stay at most 1.

    >>> coarse(33, 20, 2), coarse(0.3, 0.5, 2), coarse(0.9, 0.5, 2), coarse(20, 20, 2)
    (40, 0.25, 1.0, 20)
    """
    point = anchor * ratio ** round(math.log(value / anchor, ratio))
    if isinstance(anchor, int):
        return max(round(point), 1)
    return min(point, 1.0) if anchor <= 1.0 else point


def _best_rounds(curves: list[np.ndarray], fewest: int) -> int:
    """Rounds, at least `fewest`, after which the mean loss over folds is least, among those every fold got to."""
    shortest = min(len(curve) for curve in curves)
    fewest = min(fewest, shortest)
    return int(np.mean([curve[fewest - 1 : shortest] for curve in curves], axis=0).argmin()) + fewest
