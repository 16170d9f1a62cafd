"""What a study is asked and what it answers: settings, scores, result, progress. No search and no fitting here."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

Metric = Literal["auc", "brier", "log_loss", "growth"]
"""What a study goes by. `growth`: log growth per decision time, of families that stake by themselves."""

HIGHER_IS_BETTER: tuple[Metric, ...] = ("auc", "growth")


MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auc": roc_auc_score,
    "brier": brier_score_loss,
    "log_loss": log_loss,
}
"""The metrics of labels and probabilities."""


class StudySpec(BaseModel):
    """How hyperparameters are judged and searched for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trials: int = Field(
        100,
        ge=0,
        description="Hyperparameter settings to try, the family's defaults first; at least 0, default 100. 0 keeps "
        "the defaults.",
    )
    n_trials_warm: int = Field(
        10,
        ge=0,
        description="Settings to try if the study starts from the best of an earlier month; at least 0, default 10. "
        "0 never starts from an earlier month.",
    )
    timeout_seconds: float | None = Field(
        900, gt=0, description="Seconds after which no further trial starts; above 0, default 900. null: no limit."
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
        allow_inf_nan=False,
        description="Days a label must be known before a fold starts; at least 0, default 0.",
    )
    prune: bool = Field(
        True, description="Stop a trial whose first folds score worse than the median trial; default true."
    )
    seed: int = Field(
        0,
        ge=0,
        description="Seed of the models and of the sampler; at least 0, default 0. Workers that share a study need "
        "different seeds.",
    )
    threads: int = Field(
        1, ge=1, description="Threads that a fit may use; at least 1, default 1, the fastest if cores are shared."
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
        growth: log growth per decision time of a model's own stakes; empty where it has none.
        chosen: hyperparameters settled while scoring, such as boosting rounds found by stopping early.
    """

    auc: tuple[float, ...]
    brier: tuple[float, ...]
    log_loss: tuple[float, ...]
    train_auc: tuple[float, ...]
    rows: tuple[int, ...]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    growth: tuple[float, ...] = ()

    def mean(self, metric: Metric) -> float:
        """Plain mean over folds: each stands for a stretch of time, however many rows it has."""
        return float(np.mean(getattr(self, metric)))

    @property
    def mean_auc(self) -> float:
        """Mean AUC over the folds."""
        return self.mean("auc")

    @property
    def mean_brier(self) -> float:
        """Mean Brier score over the folds."""
        return self.mean("brier")

    @property
    def gap(self) -> float:
        """Mean AUC on the rows fitted on, less that on the folds: how much of the fit is memory."""
        return float(np.mean(self.train_auc)) - self.mean_auc


@dataclass(frozen=True)
class OneFold:
    """Labels and probabilities of one fold, scored and fitted-on."""

    y: np.ndarray
    probability: np.ndarray
    fitted_y: np.ndarray
    fitted_probability: np.ndarray


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


@dataclass(frozen=True)
class StudyPlace:
    """Where a study is kept and what it starts from.

    Attributes:
        name: of the study; one that exists in `storage` goes on until it has its trials.
        storage: Optuna storage or its URL; None keeps the study in memory.
        attributes: facts kept with the study, for people and for later months.
        first: settings to try right after the defaults: the best of an earlier month.
        alone: entered to open the study: keeps others from opening it meanwhile.
    """

    name: str
    storage: "BaseStorage | str | None" = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    first: tuple[Mapping[str, Any], ...] = ()
    alone: AbstractContextManager[Any] = field(default_factory=nullcontext)


@dataclass(frozen=True)
class StudyResult:
    """What a study chose.

    Attributes:
        params: every hyperparameter of the family: tuned, fixed or default.
        scores: of `params`, by fold; `default_scores` the same of the family's defaults.
        trials: settings judged, pruned ones and the defaults included: selection among so many is to be paid for.
        pruned: how many of them were stopped early.
        history: value of every trial in order; None where it was pruned.
        importances: share of each searched hyperparameter in the metric's variation; empty with few trials.
        edges: searched hyperparameters whose chosen value lies at an end of its range, each with that end.
    """

    params: dict[str, Any]
    scores: FoldScores
    default_scores: FoldScores
    trials: int
    pruned: int = 0
    history: tuple[float | None, ...] = ()
    importances: Mapping[str, float] = field(default_factory=dict)
    edges: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean_auc(self) -> float:
        """Mean validation AUC of `params` over the folds."""
        return self.scores.mean_auc

    @property
    def default_auc(self) -> float:
        """The same of the family's defaults."""
        return self.default_scores.mean_auc


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    >>> print(Progress(done=40, total=100, pruned=12, best=0.7451, metric="auc", seconds_left=61.0))
    40 of 100 trials (12 pruned), best auc 0.7451, about 61 s left
    """

    done: int
    total: int
    pruned: int
    best: float
    metric: Metric
    seconds_left: float

    def __str__(self) -> str:
        return (
            f"{self.done} of {self.total} trials ({self.pruned} pruned), "
            f"best {self.metric} {self.best:.4f}, about {self.seconds_left:.0f} s left"
        )
