"""Judging one setting inside the past: the options of a study, forward folds over train and validation, and scorers.

A fold is a small as_of of its own: what was known when it starts is cut into a train and a validation part, the
family learns from both, and the fold is scored. `FitScorer` does this with full fits. A family that can judge its
settings at less cost has a scorer of its own beside it. The test part is never read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.model import FittedModel, Params

Metric = Literal["auc", "brier", "log_loss", "growth"]
"""What a study goes by. `growth`: log growth per round, of families that stake by themselves."""

PROBABILITY_METRICS: tuple[Metric, ...] = ("auc", "brier", "log_loss")
"""The metrics every family has, since it gives probabilities."""

HIGHER_IS_BETTER: tuple[Metric, ...] = ("auc", "growth")

VALIDATION_BLOCKS = 4
"""The last of so many blocks of a fold's past is its validation part; the guide's 60/20 is 3 to 1 as well."""

MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auc": roc_auc_score,
    "brier": brier_score_loss,
    "log_loss": log_loss,
}
"""The metrics of labels and probabilities."""

OnFold = Callable[[int, float], None]
"""Called after each fold but the last, with the fold's number and the mean metric so far. May raise to prune."""

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of hyperparameters by name."""

NO_RANGES: Ranges = MappingProxyType({})


class StudySpec(BaseModel):
    """How hyperparameters are judged and searched for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trials: int = Field(
        100,
        ge=0,
        le=10_000,
        description="Hyperparameter settings to try, the family's defaults first; 0 to 10000, default 100. 0 keeps "
        "the defaults.",
    )
    n_trials_warm: int = Field(
        10,
        ge=0,
        le=10_000,
        description="Settings to try if the study starts from the best of an earlier month; 0 to 10000, default 10. "
        "0 never starts from an earlier month.",
    )
    timeout_seconds: float | None = Field(
        900,
        gt=0,
        le=604_800,
        description="Seconds after which no further trial starts; above 0, at most 604800, default 900. "
        "null: no limit.",
    )
    metric: Metric = Field(
        "auc",
        description="Score of a trial: auc (default), brier, log_loss, or growth, the log growth of the model's own "
        "stakes, for families that stake by themselves.",
    )
    n_folds: int = Field(
        3, ge=1, le=20, description="Forward folds, all in the later half of the examples; 1 to 20, default 3."
    )
    embargo_days: float = Field(
        0.0,
        ge=0.0,
        le=3650.0,
        description="Days a label must be known before a fold starts; 0 to 3650, default 0.",
    )
    prune: bool = Field(
        True, description="Stop a trial whose first folds score worse than the median trial; default true."
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="Seed of the models and of the sampler; 0 to 4294967295, default 0. Workers that share a study "
        "need different seeds.",
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="Threads that a fit may use; 1 to 256, default 1, the fastest if cores are shared.",
    )
    space: dict[str, list[float]] = Field(
        {}, description="Ranges to search, as {max_depth: [2, 5]}; default {}: the family's own."
    )
    params: dict[str, Any] = Field(
        {}, description="Hyperparameters to fix, as {max_depth: 3}, and not to search; default {}: none."
    )

    @model_validator(mode="after")
    def _ranges_have_two_ends(self) -> Self:
        for name, ends in self.space.items():
            if len(ends) != 2 or not ends[0] <= ends[1]:
                raise ValueError(f"space of {name} is {ends}: give [lowest, highest]")
            if name in self.params:
                raise ValueError(f"{name} is both fixed by params and searched in space: drop one of them")
        return self

    @property
    def maximises(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric in HIGHER_IS_BETTER

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """The metric's direction in Optuna's words."""
        return "maximize" if self.maximises else "minimize"


@dataclass(frozen=True)
class FoldScores:
    """Scores of one setting, one value a fold, in order of time.

    Attributes:
        auc, brier, log_loss: on the fold.
        train_auc: of the same model on the rows it was fitted on.
        rows: scored rows.
        chosen: hyperparameters chosen while scoring, such as boosting rounds found by stopping early.
        growth: log growth per round of a model's own stakes; empty where it has none.
    """

    auc: tuple[float, ...]
    brier: tuple[float, ...]
    log_loss: tuple[float, ...]
    train_auc: tuple[float, ...]
    rows: tuple[int, ...]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    growth: tuple[float, ...] = ()

    def mean(self, metric: Metric | Literal["train_auc"]) -> float:
        """Plain mean over folds: each stands for a stretch of time, however many rows it has."""
        return float(np.mean(getattr(self, metric)))


@dataclass(frozen=True)
class OneFold:
    """Labels and probabilities of one fold: of the scored rows, and of the rows the model was fitted on."""

    y: np.ndarray
    probability: np.ndarray
    fitted_y: np.ndarray
    fitted_probability: np.ndarray


def never_prune(fold: int, value: float) -> None:
    """The `OnFold` that does nothing."""


class Scorer(Protocol):
    """Judges settings on the folds it was made for."""

    @property
    def tuned_inside(self) -> frozenset[str]:
        """Hyperparameters the scorer can choose by itself, given their range."""

    def score(self, params: Params, ranges: Ranges = NO_RANGES, on_fold: OnFold = never_prune) -> FoldScores:
        """Scores of one setting.

        Args:
            params: every hyperparameter; those to be chosen inside at the upper end of their range.
            ranges: of those among `tuned_inside` that are to be chosen; empty: score `params` as they are.
            on_fold: called after each fold but the last.

        Raises:
            LearningError: a fit failed.
        """


def scores_of(folds: list[OneFold], chosen: Mapping[str, Any] | None = None) -> FoldScores:
    """The scores of folds in order of time."""

    def each(name: str) -> tuple[float, ...]:
        return tuple(float(MEASURES[name](fold.y, fold.probability)) for fold in folds)

    return FoldScores(
        auc=each("auc"),
        brier=each("brier"),
        log_loss=each("log_loss"),
        train_auc=tuple(float(roc_auc_score(fold.fitted_y, fold.fitted_probability)) for fold in folds),
        rows=tuple(len(fold.y) for fold in folds),
        chosen=dict(chosen or {}),
    )


def scoring_folds(examples: Examples, spec: StudySpec) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions to fit on and to score of each of the `spec.n_folds` folds, all in the later half of the examples.

    Raises:
        NotEnoughRows: too few distinct decision times for the folds.
        LearningError: a fold's outcomes are all of one class, so that it has no AUC.
    """
    embargo = pd.Timedelta(days=spec.embargo_days)
    folds = temporal_folds(examples.decision_time, examples.label_time, 2 * spec.n_folds - 1, embargo)[-spec.n_folds :]
    for _, score in folds:
        outcomes = examples.y[score]
        if len(np.unique(outcomes)) < 2:
            raise LearningError(
                f"The fold from {examples.decision_time.iloc[score].min()} has {len(score)} outcomes, all "
                f"{outcomes[0]}: no AUC. Take fewer than {spec.n_folds} folds, or load more history."
            )
    return folds


def fold_parts(past: Examples, spec: StudySpec) -> tuple[Examples, Examples]:
    """A fold's past as a small as_of has it: train and validation."""
    embargo = pd.Timedelta(days=spec.embargo_days)
    train, validation = temporal_folds(past.decision_time, past.label_time, VALIDATION_BLOCKS - 1, embargo)[-1]
    return past.take(train), past.take(validation)


class FitScorer:
    """Fits the family as it will be fitted for good, once a fold. Works for every family.

    Args:
        fit: the family's `fit`.
        examples: train and validation together.
        spec: folds, embargo, metric, seed and threads.

    Raises:
        NotEnoughRows, LearningError: as `scoring_folds`.
    """

    tuned_inside: frozenset[str] = frozenset()

    def __init__(
        self, fit: Callable[[Examples, Examples, Params, int, int], FittedModel], examples: Examples, spec: StudySpec
    ) -> None:
        self.fit, self.examples, self.spec = fit, examples, spec
        self.folds = scoring_folds(examples, spec)

    def score(self, params: Params, ranges: Ranges = NO_RANGES, on_fold: OnFold = never_prune) -> FoldScores:  # noqa: ARG002
        """As `Scorer.score`."""
        scored: list[OneFold] = []
        for number in range(len(self.folds)):
            scored.append(self._fold(number, params))
            if number < len(self.folds) - 1:
                on_fold(number, scores_of(scored).mean(self.spec.metric))
        return scores_of(scored)

    def _fold(self, number: int, params: Params) -> OneFold:
        fit, score = self.folds[number]
        fold = self.examples.take(score)
        train, validation = fold_parts(self.examples.take(fit), self.spec)
        model = self.fit(train, validation, params, self.spec.seed, self.spec.threads)
        known = pooled(train, validation)
        probabilities = [model.predict_proba(part.X)[:, 1] for part in (fold, known)]
        return OneFold(fold.y, probabilities[0], known.y, probabilities[1])
