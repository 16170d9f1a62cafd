"""Judging one setting inside the past: forward folds over train and validation, never the test.

A fold is treated like a small as_of of its own: what was known when it starts is cut into a train and a
validation part, the family learns from both, and the fold is scored. A family whose trials can be judged more
cheaply has a scorer of its own beside this one.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.family import Family, Params
from cleverbetter_dagster.learning.tuning.spec import FoldScores, OneFold, StudySpec, scores_of

VALIDATION_BLOCKS = 4
"""The last of so many blocks of a fold's past is its validation part; the guide's 60/20 is 3 to 1 as well."""

Report = Callable[[int, float], None]
"""Told after each fold but the last: the fold's number and the mean metric so far. May raise to prune."""


Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of hyperparameters by name."""

UNSETTLED: Ranges = MappingProxyType({})


def keep_going(fold: int, value: float) -> None:
    """The report that never prunes."""


class Scorer(Protocol):
    """Judges settings on the folds it was made for."""

    @property
    def settles(self) -> frozenset[str]:
        """Hyperparameters the scorer can choose by itself, given their range."""

    def score(self, params: Params, settle: Ranges = UNSETTLED, report: Report = keep_going) -> FoldScores:
        """Scores of one setting.

        Args:
            params: every hyperparameter; those to settle at the upper end of their range.
            settle: ranges of those among `settles` to choose; empty: score `params` as they are.
            report: told after each fold but the last.

        Raises:
            LearningError: a fit failed.
        """


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
    """Fits the family as it will be fitted for good, once a fold. Works for every family."""

    settles: frozenset[str] = frozenset()

    def __init__(self, family: Family, examples: Examples, spec: StudySpec) -> None:
        self.family, self.examples, self.spec = family, examples, spec
        self.folds = scoring_folds(examples, spec)

    def score(self, params: Params, settle: Ranges = UNSETTLED, report: Report = keep_going) -> FoldScores:  # noqa: ARG002
        scored: list[OneFold] = []
        for number in range(len(self.folds)):
            scored.append(self._fold(number, params))
            if number < len(self.folds) - 1:
                report(number, scores_of(scored).mean(self.spec.metric))
        return scores_of(scored)

    def _fold(self, number: int, params: Params) -> OneFold:
        fit, score = self.folds[number]
        fold = self.examples.take(score)
        train, validation = fold_parts(self.examples.take(fit), self.spec)
        model = self.family.fit(train, validation, params, self.spec.seed, self.spec.threads)
        known = pooled(train, validation)
        probabilities = [model.predict_proba(part.X)[:, 1] for part in (fold, known)]
        return OneFold(fold.y, probabilities[0], known.y, probabilities[1])


def temporal_cv_score(family: Family, examples: Examples, params: dict[str, Any], spec: StudySpec) -> FoldScores:
    """Score one setting forward in time by full fits.

    Args:
        family: whose setting it is.
        examples: train and validation together (`pooled`).
        params: the setting; what is left out takes its default.
        spec: folds, embargo, seed and threads; the rest has no say here.

    Raises:
        NotEnoughRows, LearningError: as `scoring_folds`; or a fit failed.
    """
    return FitScorer(family, examples, spec).score(params)
