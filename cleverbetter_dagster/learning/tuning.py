"""Judging and choosing hyperparameters inside the past: forward folds over train and validation, never the
test.

A fold is treated like a small as_of of its own: what was known when it starts is cut into a train and a
validation part, the family learns from both, and the fold is scored.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.metrics import brier_score_loss, roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.family import Family, Params

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

VALIDATION_BLOCKS = 4
"""The last of so many blocks of a fold's past is its validation part; the guide's 60/20 is 3 to 1 as well."""

IS_DEFAULT = "defaults"


class StudySpec(BaseModel):
    """How hyperparameters are judged and searched for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trials: int = Field(0, ge=0, description="settings to judge, the defaults first; 0 and 1 judge nothing else")
    n_folds: int = Field(3, ge=1, le=20, description="forward folds, all in the later half of the examples")
    embargo_days: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="as in the dataset's spec")
    seed: int = Field(0, ge=0, description="of the models and of the search")
    threads: int = Field(1, ge=1, description="threads a fit may use")


@dataclass(frozen=True)
class FoldScores:
    """Scores of one setting, one value a fold, in order of time."""

    auc: tuple[float, ...]
    brier: tuple[float, ...]
    rows: tuple[int, ...]

    @property
    def mean_auc(self) -> float:
        """Plain mean over folds: each stands for a stretch of time, however many rows it has."""
        return float(np.mean(self.auc))

    @property
    def mean_brier(self) -> float:
        """Plain mean over folds."""
        return float(np.mean(self.brier))


@dataclass(frozen=True)
class StudyResult:
    """What a study chose.

    Attributes:
        params: every hyperparameter of the family, tuned or default.
        mean_auc: mean validation AUC of `params` over the folds.
        default_auc: the same of the family's defaults.
        trials: completed trials, the defaults' included.
    """

    params: dict[str, Any]
    mean_auc: float
    default_auc: float
    trials: int


def pooled(earlier: Examples, later: Examples) -> Examples:
    """Two parts as one, in order of time."""
    return Examples(pd.concat([earlier.frame, later.frame], ignore_index=True))


def temporal_cv_score(family: Family, examples: Examples, params: Params, spec: StudySpec) -> FoldScores:
    """Score one setting forward in time.

    Args:
        family: whose setting it is.
        examples: train and validation together (`pooled`).
        params: the setting; what is left out takes its default.
        spec: folds, seed and threads; `n_trials` has no say here.

    Raises:
        NotEnoughRows: too few distinct decision times for the folds.
        LearningError: a fold's outcomes are all of one class, so that it has no AUC, or a fit failed.
    """
    embargo = pd.Timedelta(days=spec.embargo_days)
    aucs, briers, rows = [], [], []
    folds = temporal_folds(examples.decision_time, examples.label_time, 2 * spec.n_folds - 1, embargo)
    for fit, score in folds[-spec.n_folds :]:
        past, fold = examples.take(fit), examples.take(score)
        if len(np.unique(fold.y)) < 2:
            raise LearningError(
                f"The fold from {fold.decision_time.min()} has {len(fold)} outcomes, all {fold.y[0]}: "
                f"no AUC. Take fewer than {spec.n_folds} folds, or load more history."
            )
        within = temporal_folds(past.decision_time, past.label_time, VALIDATION_BLOCKS - 1, embargo)[-1]
        model = family.fit(past.take(within[0]), past.take(within[1]), params, spec.seed, spec.threads)
        probability = model.predict_proba(fold.X)[:, 1]
        aucs.append(float(roc_auc_score(fold.y, probability)))
        briers.append(float(brier_score_loss(fold.y, probability)))
        rows.append(len(fold))
    return FoldScores(tuple(aucs), tuple(briers), tuple(rows))


def run_study(
    family: Family, examples: Examples, spec: StudySpec, name: str, storage: "BaseStorage | str | None" = None
) -> StudyResult:
    """Search the family's space for the best mean validation AUC; the defaults are always the first trial.

    Args:
        family: whose hyperparameters are sought.
        examples: train and validation together; the test part has no business here.
        spec: trials, folds, seed and threads.
        name: of the study; one that exists in `storage` goes on until it has `n_trials` completed trials.
        storage: Optuna storage or its URL; None keeps the study in memory.

    Raises:
        NotEnoughRows, LearningError: as `temporal_cv_score`, which no trial survives.
    """
    defaults = family.default_params()
    if spec.n_trials <= 1:
        auc = temporal_cv_score(family, examples, defaults, spec).mean_auc
        return StudyResult(defaults, auc, auc, trials=1)
    study = _open_study(family, spec, name, storage)

    def objective(trial: "Trial") -> float:
        return temporal_cv_score(family, examples, family.suggest(trial), spec).mean_auc

    study.optimize(objective, n_trials=max(spec.n_trials - len(_completed(study)), 0), n_jobs=1)
    return _result(family, study)


def _open_study(family: Family, spec: StudySpec, name: str, storage: "BaseStorage | str | None") -> "Study":
    import optuna

    study = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=spec.seed),
        load_if_exists=True,
    )
    if not any(trial.user_attrs.get(IS_DEFAULT) for trial in _completed(study)):
        study.enqueue_trial(family.default_params(), user_attrs={IS_DEFAULT: True})
    return study


def _completed(study: "Study") -> list["FrozenTrial"]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _result(family: Family, study: "Study") -> StudyResult:
    from optuna.trial import FixedTrial

    completed = _completed(study)
    default = next(trial for trial in completed if trial.user_attrs.get(IS_DEFAULT))
    chosen = family.suggest(FixedTrial(study.best_params))
    return StudyResult(
        params={**family.default_params(), **chosen},
        mean_auc=float(study.best_value),
        default_auc=float(default.values[0]),
        trials=len(completed),
    )
