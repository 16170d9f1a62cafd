"""Searching hyperparameters inside the past: one Optuna study, cheap trials, the defaults always among them.

The study is Optuna's; this makes it resumable, shareable, prunable and warm-startable. The family brings the scorer
that judges a setting.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.scoring import FoldScores, Metric, Scorer, StudySpec
from cleverbetter_dagster.learning.tuning.space import edges, searched_space, suggested, within

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

IS_DEFAULT, SCORES, RANGES = "defaults", "scores", "ranges"
PROGRESS_SECONDS = 5.0
RANDOM_TRIALS = 10
"""Settings drawn at random before the sampler learns from them, and judged before any is pruned."""

FEWEST_FOR_IMPORTANCE = 8


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


def run_study(
    family: Family, examples: Examples, spec: StudySpec, context: StudyContext, on_progress: OnProgress | None = None
) -> StudyResult:
    """Search the family's space for the best mean score over the folds; the defaults are always the first trial.

    Trials that finished or were pruned count; failed ones do not. Processes that share a study together run its
    trials, and may overshoot by one each.

    Args:
        family: whose hyperparameters are searched.
        examples: train and validation together, never the test part.
        spec: trials, folds, metric, space, seed and threads.
        context: name and storage of the study, and what it starts from.
        on_progress: called every few seconds and at the end.

    Raises:
        NotEnoughRows: as `Scorer.score`.
        LearningError: as `Scorer.score`; or the family cannot be judged by the metric.
    """
    if spec.metric not in family.study_metrics:
        raise LearningError(f"{family.name} cannot be judged by {spec.metric}: take {', '.join(family.study_metrics)}.")
    search = _Search(family, family.scorer(examples, spec), spec)
    space = searched_space(family, spec, search.scorer.tuned_inside)
    if not spec.n_trials:
        scores = search.scorer.score(search.defaults)
        return StudyResult(search.defaults, scores, scores, trials=1)
    with context.alone:
        study = _open_study(spec, context, space, search.defaults)
    budget = min(spec.n_trials, spec.n_trials_warm) if context.first else spec.n_trials
    left = budget - len(judged_trials(study))
    if left > 0:
        progress = _ProgressCallback(on_progress, budget, spec)
        study.optimize(
            search, n_trials=left, timeout=spec.timeout_seconds, n_jobs=1, callbacks=[_stop_at(budget), progress]
        )
    return search.result(study)


def judged_trials(study: "Study") -> list["FrozenTrial"]:
    """The trials that finished or were pruned, in order; neither running nor failed ones."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def is_complete(trial: "FrozenTrial") -> bool:
    """Whether a trial was scored to the end."""
    return trial.state.name == "COMPLETE"


class _Search:
    """What Optuna optimises, the mean score of a trial's setting, reported fold by fold; and what it found."""

    def __init__(self, family: Family, scorer: Scorer, spec: StudySpec) -> None:
        self.family, self.scorer, self.spec = family, scorer, spec
        self.defaults = {**family.default_params(), **spec.params}

    def __call__(self, trial: "Trial") -> float:
        import optuna

        params, ranges = suggested(self.family, trial, self.spec, self.scorer.tuned_inside)
        is_default = bool(trial.user_attrs.get(IS_DEFAULT))

        def on_fold(fold: int, value: float) -> None:
            if not self.spec.prune:
                return
            trial.report(value, fold)
            # The defaults are what everything is compared with: they are judged to the end.
            if not is_default and trial.should_prune():
                raise optuna.TrialPruned(f"after fold {fold + 1}")

        if is_default:
            scores = self.scorer.score(self.defaults, on_fold=on_fold)
        else:
            scores = self.scorer.score(params, ranges, on_fold)
        trial.set_user_attr(SCORES, asdict(scores))
        if ranges:
            trial.set_user_attr(RANGES, ranges)
        return scores.mean(self.spec.metric)

    def result(self, study: "Study") -> StudyResult:
        """The best setting of a study; the defaults if none is better."""
        judged, spec = judged_trials(study), self.spec
        complete = [trial for trial in judged if is_complete(trial)]
        default = next((trial for trial in complete if trial.user_attrs.get(IS_DEFAULT)), None)
        # Another worker may still be at the defaults.
        default_scores = _scores(default) if default else self.scorer.score(self.defaults)
        params, scores, at_edge = self.defaults, default_scores, {}
        best = study.best_trial if complete else None
        if best is not None and not best.user_attrs.get(IS_DEFAULT):
            gain = cast("float", best.value) - default_scores.mean(spec.metric)
            if (gain if spec.maximises else -gain) >= 0:
                scores = _scores(best)
                params = {**self.family.default_params(), **best.params, **scores.chosen, **spec.params}
                ranges = best.user_attrs.get(RANGES, {}).items()
                inside = {name: end for name, ends in ranges for end in ends if params[name] == end}
                at_edge = edges(best.params, best.distributions) | inside
        return StudyResult(
            params=params,
            scores=scores,
            default_scores=default_scores,
            trials=max(len(judged), 1),
            pruned=len(judged) - len(complete),
            history=tuple(trial.value if is_complete(trial) else None for trial in judged),
            importances=_importances(study, complete),
            edges=at_edge,
        )


class _ProgressCallback:
    """An Optuna callback that calls `on_progress`, not too often."""

    def __init__(self, on_progress: OnProgress | None, total: int, spec: StudySpec) -> None:
        self.on_progress, self.total, self.spec = on_progress, total, spec
        self.started = self.last_call = monotonic()
        self.trials_here = 0

    def __call__(self, study: "Study", trial: "FrozenTrial") -> None:  # noqa: ARG002 - Optuna's signature
        self.trials_here += 1
        if self.on_progress is None:
            return
        judged, now = judged_trials(study), monotonic()
        if len(judged) < self.total and now - self.last_call < PROGRESS_SECONDS:
            return
        self.last_call = now
        seconds_left = (now - self.started) / self.trials_here * max(self.total - len(judged), 0)
        if self.spec.timeout_seconds:
            seconds_left = min(seconds_left, max(self.spec.timeout_seconds - (now - self.started), 0.0))
        pruned = sum(1 for one in judged if not is_complete(one))
        self.on_progress(Progress(len(judged), self.total, pruned, study.best_value, self.spec.metric, seconds_left))


def _open_study(
    spec: StudySpec, context: StudyContext, space: Mapping[str, "BaseDistribution"], defaults: dict[str, Any]
) -> "Study":
    import optuna
    from optuna.trial import TrialState

    study = optuna.create_study(
        study_name=context.name, storage=context.storage, direction=spec.direction, load_if_exists=True
    )
    before = study.get_trials(deepcopy=False)
    # A study that goes on must not draw again what it drew first.
    study.sampler = optuna.samplers.TPESampler(
        seed=spec.seed + len(before), n_startup_trials=RANDOM_TRIALS, multivariate=True
    )
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS // 2)
    for name, value in context.attributes.items():
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)
    # Another worker may be at the defaults; one that was killed at them is noticed by its heartbeat.
    safe = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)
    if not any(trial.state in safe for trial in before if trial.user_attrs.get(IS_DEFAULT)):
        study.enqueue_trial(within(defaults, space), user_attrs={IS_DEFAULT: True})
    if not before:
        for params in context.first:
            study.enqueue_trial(within(params, space))
    return study


def _stop_at(budget: int) -> Callable[["Study", "FrozenTrial"], None]:
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    return MaxTrialsCallback(budget, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _scores(trial: "FrozenTrial") -> FoldScores:
    scores: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in trial.user_attrs[SCORES].items()
    }
    return FoldScores(**scores)


def _importances(study: "Study", complete: list["FrozenTrial"]) -> dict[str, float]:
    """PED-ANOVA (Watanabe, Bansal, Hutter, IJCAI 2023): which values the best trials share."""
    import optuna

    if len(complete) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in complete}) == 1:
        return {}
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}
