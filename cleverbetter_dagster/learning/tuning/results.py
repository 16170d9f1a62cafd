"""What a study starts from, what it chose, and how far it is."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cleverbetter_dagster.learning.scoring.scorer import FoldScores
from cleverbetter_dagster.learning.scoring.spec import Metric

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


@dataclass(frozen=True)
class StudyContext:
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


OnProgress = Callable[[Progress], None]
