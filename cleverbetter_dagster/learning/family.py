"""What a model family is: how it is named, tuned, fitted and updated. Families are listed in `catalogue.py`."""

import abc
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.model import FittedModel, Params
from cleverbetter_dagster.learning.scoring import PROBABILITY_METRICS, FitScorer, Metric, Scorer, StudySpec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

ParamsModel = TypeVar("ParamsModel", bound=BaseModel)
Fitted = TypeVar("Fitted", bound=FittedModel)


class Family(abc.ABC):
    """A way of learning from examples. Stateless: everything a fit needs is an argument.

    A subclass sets the first five attributes and implements `suggest`, `fit` and `update`.

    Attributes:
        name: key in the catalogue, prefix of the assets and name in the registry; an identifier.
        title: name a person reads.
        description: one or two sentences on how the family learns.
        params_model: the hyperparameters, each with its default and its bounds.
        stored_types: every class that a fitted model of this family consists of, beside numbers, texts, arrays, lists,
            mappings and LightGBM's boosters. No other class is made when a stored model is loaded.
        study_defaults: fields of `StudySpec` whose default is another for this family.
        study_metrics: what a study of this family can go by.
        demo_study: fields of `StudySpec` for a demonstration, where a real study of many trials would take too long.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    params_model: ClassVar[type[BaseModel]]
    stored_types: ClassVar[tuple[type, ...]]
    study_defaults: ClassVar[Params] = MappingProxyType({})
    study_metrics: ClassVar[tuple[Metric, ...]] = PROBABILITY_METRICS
    demo_study: ClassVar[Params] = MappingProxyType({"n_trials": 0, "n_folds": 1})

    def default_params(self) -> dict[str, Any]:
        """Every hyperparameter of the family at its default."""
        return self.params_model().model_dump()

    def scorer(self, examples: Examples, spec: StudySpec) -> Scorer:
        """What judges the settings of a study; a family that can judge them at less cost than a fit overrides it.

        Args:
            examples: train and validation together.
            spec: folds, embargo, metric, seed, threads and fixed hyperparameters.
        """
        return FitScorer(self.fit, examples, spec)

    @abc.abstractmethod
    def suggest(self, trial: "BaseTrial") -> dict[str, Any]:
        """Draw the hyperparameters worth tuning: valid in `fit`, with the defaults in range."""

    @abc.abstractmethod
    def fit(self, train: Examples, validation: Examples, params: Params, seed: int, threads: int) -> FittedModel:
        """Learn from `train` and the later `validation`; the family decides what it uses each for.

        Args:
            train: examples whose labels were known when `validation` begins.
            validation: later examples, for early stopping, calibration and the like; may be learned from.
            params: hyperparameters; those left out take their defaults.
            seed: the only source of randomness: equal arguments give equal models, bit by bit.
            threads: threads the fit may use, >= 1.

        Raises:
            LearningError: a parameter is unknown or out of range; or the parts are empty, not in order of
                time (`require_order`), or of one class.
        """

    @abc.abstractmethod
    def update(self, model: FittedModel, new: Examples, past: Examples, seed: int, threads: int) -> FittedModel:
        """Learn from new rows, at a small part of what fitting costs; hyperparameters and features stay.

        The calibrator and the meta-learner are refitted only on rows the old model never saw (`unseen`), as `model`
        scored them. Rows of `new` that arrived late are learned from, but used to refit neither.

        Args:
            model: of this family; stays as it is.
            new: labelled rows `model` has not learned from, in any number and of any class.
            past: labelled rows it has learned from, to rehearse; may be empty.
            seed, threads: as in `fit`.

        Raises:
            LearningError: as `require_update`.
        """


def require_update(kind: type[Fitted], model: FittedModel, new: Examples, past: Examples) -> Fitted:
    """The model to be updated, as one of its family's type; an update that makes no sense is refused.

    Raises:
        LearningError: the model is of another family or of other features than the new rows; there are no new
            rows; or a row is both new and past.
    """
    if not isinstance(model, kind):
        raise LearningError(
            f"A model of the family {model.family!r} cannot be updated by {kind.family!r}: use its own family, or "
            "fit anew."
        )
    if not len(new):
        raise LearningError("0 new examples to learn from: pass at least 1, or keep the model as it is.")
    columns, known = set(new.X.columns), set(model.feature_names)
    if columns != known:
        raise LearningError(
            f"The model learned from {len(known)} features, the new rows have {len(columns)}; only the rows have "
            f"{_listed(columns - known)}, only the model has {_listed(known - columns)}. Train in full: a feature can "
            "be neither added to a model nor taken from it."
        )
    both = set(new.ids) & set(past.ids)
    if both:
        raise LearningError(
            f"{len(both)} rows are both new and past, such as {min(both)}: they would count twice. "
            "Pass as new only what the model has not learned from."
        )
    return model


def unseen(model: FittedModel, new: Examples) -> np.ndarray:
    """Positions of the rows decided no earlier than the model's last label became known: they may judge it."""
    return np.flatnonzero(new.decision_time >= model.known_until)


def latest_label(*parts: Examples) -> pd.Timestamp:
    """When the last label of all parts together became known."""
    return max(part.label_time.max() for part in parts if len(part))


def require_order(train: Examples, validation: Examples) -> None:
    """Refuse parts from which a family would learn what was not known yet.

    Raises:
        LearningError: a part is empty, or a label of `train` became known after `validation` began.
    """
    if not len(train) or not len(validation):
        raise LearningError(
            f"{len(train)} rows to train on and {len(validation)} to validate on: neither may be empty. "
            "Load more history, or change the split's fractions."
        )
    known, start = train.label_time.max(), validation.decision_time.min()
    if known > start:
        raise LearningError(
            f"A label of train was known at {known}, after validation began at {start}: "
            "purge such rows (dataset.splits does)."
        )


def require_both_classes(y: np.ndarray) -> None:
    """Refuse labels no classifier can learn from.

    Raises:
        LearningError: there are none, or all are of one class.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise LearningError(
            f"{len(y)} labels to fit on, of classes {classes.tolist()}: a classifier needs both 0 and 1. "
            "Load more history, or move the return threshold."
        )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def checked_params(model: type[ParamsModel], params: Params, family: str) -> ParamsModel:
    """A family's hyperparameters, validated.

    Raises:
        LearningError: a parameter is unknown or out of range; the message names it, its value and the known ones.
    """
    try:
        return model.model_validate(dict(params))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in error.errors()]
        known = ", ".join(model.model_fields)
        raise LearningError(f"Cannot use the {family}'s parameters: {'; '.join(lines)}. Known: {known}.") from None
