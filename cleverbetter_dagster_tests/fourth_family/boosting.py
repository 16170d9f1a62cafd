"""A fourth family, as small as one can be: LightGBM alone, calibrated on later rows."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.learning.calibration import CALIBRATOR_TYPES, Calibrator, calibration_facts, fit_calibrator
from cleverbetter_dagster.learning.ensemble.base_learners import (
    LightGBMLearner,
    base_probabilities,
    shares_of_features,
    updated_base_learners,
    weigh_base_learners,
)
from cleverbetter_dagster.learning.ensemble.params import BaseParams
from cleverbetter_dagster.learning.ensemble.stored_types import LEARNER_TYPES
from cleverbetter_dagster.learning.family import (
    Family,
    checked_params,
    latest_label,
    require_both_classes,
    require_order,
    require_update,
    unseen,
)
from cleverbetter_dagster.learning.model import FittedModel, Params, Report, feature_matrix, prediction_columns


class BoostingParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    n_estimators: int = Field(60, ge=1)
    learning_rate: float = Field(0.08, gt=0, le=1)
    max_depth: int = Field(3, ge=1, le=16)
    l2: float = Field(10.0, ge=0)


@dataclass(frozen=True, eq=False)
class FittedBoosting(FittedModel):
    family = "boosting"

    feature_names: tuple[str, ...]
    learners: dict[str, LightGBMLearner]
    calibrator: Calibrator
    known_until: pd.Timestamp
    updated_rows: int = 0

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        opinions = base_probabilities(self.learners, values)
        score = opinions[:, 0]
        return prediction_columns(self.calibrator.probability(score), score, opinions)

    def feature_importance(self) -> pd.Series:
        return shares_of_features(self.learners, [1.0], self.feature_names)

    def report(self) -> Report:
        return calibration_facts(self.calibrator, self.updated_rows)


class Boosting(Family):
    name = "boosting"
    title = "Boosted trees"
    description = "LightGBM alone, calibrated on later rows."
    params_model = BoostingParams
    stored_types = (FittedBoosting, *LEARNER_TYPES, *CALIBRATOR_TYPES)

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        return {
            "n_estimators": trial.suggest_int("n_estimators", 20, 200),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            "max_depth": trial.suggest_int("max_depth", 2, 6),
            "l2": trial.suggest_float("l2", 0.1, 100.0, log=True),
        }

    def fit(self, train: Examples, validation: Examples, params: Params, seed: int, threads: int) -> FittedBoosting:
        chosen = BaseParams(**checked_params(BoostingParams, params, self.name).model_dump())
        require_order(train, validation)
        require_both_classes(train.y)
        names = tuple(train.X.columns)
        past, final = (LightGBMLearner(chosen, seed, threads) for _ in range(2))
        past.fit(feature_matrix(train.X, names), train.y)
        score = base_probabilities({"past": past}, feature_matrix(validation.X, names))[:, 0]
        both = pooled(train, validation)
        final.fit(feature_matrix(both.X, names), both.y)
        weigh_base_learners({"final": final}, feature_matrix(both.X, names), both.y)
        calibrator = fit_calibrator(score, validation.y)
        return FittedBoosting(names, {"final": final}, calibrator, latest_label(train, validation))

    def update(self, model: FittedModel, new: Examples, past: Examples, seed: int, threads: int) -> FittedBoosting:
        before = require_update(FittedBoosting, model, new, past)
        values, judging = feature_matrix(new.X, before.feature_names), unseen(before, new)
        calibrator = before.calibrator
        if len(judging):
            calibrator = calibrator.updated(base_probabilities(before.learners, values[judging])[:, 0], new.y[judging])
        return replace(
            before,
            learners=updated_base_learners(before.learners, values, new.y),
            calibrator=calibrator,
            known_until=max(before.known_until, latest_label(new)),
            updated_rows=before.updated_rows + len(new),
        )
