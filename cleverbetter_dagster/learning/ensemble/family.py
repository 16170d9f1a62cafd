"""The ensemble family: temporal stacking of unlike base learners, calibrated on later rows.

What each step sees. Validation is later than train, and every label is known before the rows it helps to judge:

    step                     fitted on                                       its rows were predicted by
    1 forward folds          base learners: known before the fold            -
    2 meta-learner           folds of train, out of fold                     step 1
    3 base learners          all of train                                    -
    4 calibrator             validation                                      steps 3 and 2
    5 final base learners    all of train and validation                     -

A prediction takes steps 5, 2 and 4, in this order. An update starts from these and adds new rows:

    step                     takes in                                        its rows were predicted by
    6 calibrator             unseen rows, for as many of its oldest          steps 5 and 2, before the update
    7 meta-learner           unseen rows                                     step 5, before the update
    8 base learners          all new rows                                    -

Unseen rows were decided when every label the model knows was known. No row is predicted by a learner that saw its
label, and the calibrator's rows are later than the rows behind the scores it maps. Nothing is scaled, imputed or binned
outside a step; an update keeps scaling, imputing and splits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.learning.calibration import CALIBRATOR_TYPES, Calibrator, calibration_facts, fit_calibrator
from cleverbetter_dagster.learning.ensemble.base_learners import (
    BaseLearner,
    base_probabilities,
    learner_seeds,
    shares_of_features,
    updated_base_learners,
    weigh_base_learners,
)
from cleverbetter_dagster.learning.ensemble.members import fit_members, member_weights
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster.learning.ensemble.scorer import StackScorer
from cleverbetter_dagster.learning.ensemble.stored_types import LEARNER_TYPES
from cleverbetter_dagster.learning.family import (
    Family,
    checked_params,
    latest_label,
    require_order,
    require_update,
    unseen,
)
from cleverbetter_dagster.learning.model import FittedModel, Params, Report, feature_matrix, prediction_columns
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.learning.shrunk_logistic import ShrunkLogistic, log_odds

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True, eq=False)
class FittedEnsemble(FittedModel):
    """A fitted ensemble. `score` is the meta-learner's probability before calibration."""

    family = "ensemble"

    feature_names: tuple[str, ...]
    learners: Mapping[str, BaseLearner]
    meta: ShrunkLogistic
    calibrator: Calibrator
    meta_rows: int
    known_until: pd.Timestamp
    updated_rows: int = 0

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        opinions = base_probabilities(self.learners, values)
        score = self.meta.probability(log_odds(opinions))
        return prediction_columns(self.calibrator.probability(score), score, opinions)

    def feature_importance(self) -> pd.Series:
        """Weighted mean of the base learners' own shares, by their weights in the meta-learner."""
        return shares_of_features(self.learners, self.meta.weights, self.feature_names)

    def report(self) -> Report:
        weights = zip(self.learners, self.meta.weights, strict=True)
        return {
            **{f"meta_weight_{name}": weight for name, weight in weights},
            "meta_intercept": self.meta.intercept,
            "meta_rows": self.meta_rows,
            **calibration_facts(self.calibrator, self.updated_rows),
        }


class Ensemble(Family):
    """The family `ensemble`; the module's table says what each part may see."""

    name = "ensemble"
    title = "Stacked ensemble"
    description = (
        "Extra trees, histogram boosting, LightGBM, logistic regression and what strategies tell about each other, "
        "weighed by a meta-learner on predictions made forward in time and calibrated on later rows."
    )

    params_model = EnsembleParams
    stored_types = (FittedEnsemble, *LEARNER_TYPES, *CALIBRATOR_TYPES)
    demo_study = MappingProxyType({"n_trials": 5})

    def scorer(self, examples: Examples, spec: StudySpec) -> StackScorer:
        """Fits each member once a fold."""
        return StackScorer(examples, spec, anchor={**self.default_params(), **spec.params})

    def suggest(self, trial: "BaseTrial") -> dict[str, Any]:
        """What the guide tunes: number of estimators, learning rate, depth and regularisation."""
        return {
            "n_estimators": trial.suggest_int("n_estimators", 50, 500, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            "max_depth": trial.suggest_int("max_depth", 2, 8),
            "min_leaf_rows": trial.suggest_int("min_leaf_rows", 10, 200, log=True),
            "l2": trial.suggest_float("l2", 0.1, 100.0, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1.0),
            "forest_leaf_rows": trial.suggest_int("forest_leaf_rows", 5, 100, log=True),
            "logistic_c": trial.suggest_float("logistic_c", 1e-4, 1.0, log=True),
        }

    def fit(self, train: Examples, validation: Examples, params: Params, seed: int, threads: int) -> FittedEnsemble:
        """Fit the five steps of the module's table; raises as `Family.fit` and `predict_forward`."""
        chosen = checked_params(EnsembleParams, params, self.name)
        require_order(train, validation)
        names, seeds = tuple(train.X.columns), learner_seeds(seed)
        known, later = feature_matrix(train.X, names), feature_matrix(validation.X, names)
        predicted, opinions = predict_forward(train, chosen, seed, threads)
        past = fit_members(known, train.y, names, chosen, seeds, threads)
        guess = member_weights(past, chosen.edges_weight)
        meta = ShrunkLogistic.fit(log_odds(opinions), train.y[predicted], guess, chosen.meta_penalty)
        score = meta.probability(log_odds(base_probabilities(past, later)))
        calibrator = fit_calibrator(score, validation.y)
        everything, labels = np.vstack([known, later]), np.concatenate([train.y, validation.y])
        final = fit_members(everything, labels, names, chosen, seeds, threads)
        weigh_base_learners(final, everything, labels)
        return FittedEnsemble(names, final, meta, calibrator, len(predicted), latest_label(train, validation))

    def update(self, model: FittedModel, new: Examples, past: Examples, seed: int, threads: int) -> FittedEnsemble:  # noqa: ARG002 - nothing is drawn, and one thread suffices
        """Take the last three steps of the module's table; the past is not read again."""
        before = require_update(FittedEnsemble, model, new, past)
        values, y, judging = feature_matrix(new.X, before.feature_names), new.y, unseen(before, new)
        meta, calibrator = before.meta, before.calibrator
        if len(judging):
            opinions = log_odds(base_probabilities(before.learners, values[judging]))
            calibrator = calibrator.updated(meta.probability(opinions), y[judging])
            meta = meta.updated(opinions, y[judging])
        return replace(
            before,
            learners=updated_base_learners(before.learners, values, y),
            meta=meta,
            calibrator=calibrator,
            meta_rows=before.meta_rows + len(judging),
            known_until=max(before.known_until, latest_label(new)),
            updated_rows=before.updated_rows + len(new),
        )


def predict_forward(
    examples: Examples, params: EnsembleParams, seed: int, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predict examples by base learners fitted, fold by fold, on what was known when the fold began.

    There are `params.n_folds` folds, or as many as the distinct decision times allow. The first block of time is only
    fitted on, so its rows have no prediction.

    Returns:
        Positions of the predicted rows, [n], and the learners' probabilities, float[n, learners].

    Raises:
        NotEnoughRows: fewer than two distinct decision times.
        LearningError: the labels before a fold are all of one class.
    """
    names = tuple(examples.X.columns)
    values = feature_matrix(examples.X, names)
    n_folds = max(min(params.n_folds, examples.decision_time.nunique() - 1), 1)
    folds = temporal_folds(examples.decision_time, examples.label_time, n_folds)
    parts = []
    for fit, score in folds:
        learners = fit_members(values[fit], examples.y[fit], names, params, learner_seeds(seed), threads)
        parts.append(base_probabilities(learners, values[score]))
    return np.concatenate([score for _, score in folds]), np.vstack(parts)
