"""From the newest version of a family to the next one, which learns only the rows that are new to it.

New are the examples of this as_of's train and validation whose content the parent has not learned from: rows labelled
since, rows that arrived late and rows corrected upstream. The test rows stay unseen: an update is refused if the
parent knows more than was known when they begin.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import LearningError, ModelNotFound
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.records import ModelRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.fit import RunContext, UpdateInfo, log_model_run, model_record, run_spec
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import StrategyModel, is_loadable, load_model
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry
from cleverbetter_dagster.store.tracking.runs import start_run

REMEDY = "Train in full (training: full)"


@dataclass(frozen=True)
class Parent:
    """A registered version to go on from, and its model."""

    version: ModelVersion
    model: StrategyModel


@dataclass(frozen=True)
class NewExamples:
    """Examples, told apart by what a model has learned from.

    Attributes:
        new: those it has not learned from; `past` those it has.
        lost: how many it has learned from that are no longer there as they were.
    """

    new: Examples
    past: Examples
    lost: int


def update(
    settings: Settings, family: str, dataset: Dataset, run_context: RunContext | None = None
) -> tuple[ModelRecord, FittedModel]:
    """The family's newest version as of the dataset's month, after the rows that are new to it.

    Hyperparameters are the parent's. Without new rows there is no new model: the record is the parent's own, with 0
    rows added.

    Raises:
        ModelNotFound: there is no version of this as_of or before, or its files are gone.
        ModelTampered: its files are not those that were logged.
        RegistryError, LearningError: it cannot be updated; the message says why. Nothing else is tried instead.
    """
    parent = parent_of(settings, family, dataset)
    examples = new_to_parent(parent, dataset)
    update_info = UpdateInfo("incremental", parent.version.version, len(examples.new), examples.lost)
    if not len(examples.new):
        where = {name: getattr(parent.version, name) for name in ("run_id", "model_uri", "sha256")}
        return model_record(parent.model, dataset, update_info, where), parent.model.fitted
    provenance = parent.model.provenance.after(examples.new)
    with start_run(settings, run_spec(family, dataset, provenance, run_context)) as run:
        model = get_family(family).update(
            parent.model.fitted, examples.new, examples.past, provenance.seed, settings.threads
        )
        return log_model_run(run, model, dataset, provenance, update_info), model


def parent_of(settings: Settings, family: str, dataset: Dataset) -> Parent:
    """The family's newest version of an as_of no later than the dataset's, of those made with the same choices.

    Raises:
        ModelNotFound, ModelTampered, RegistryError, LearningError: as `update`.
    """
    as_of = dataset.record.as_of
    versions = [
        version
        for version in Registry(settings).list_versions(family)
        if version.as_of <= as_of and version.model_family == family
    ]
    if not versions:
        raise ModelNotFound(
            f"No version of {family!r} as of {as_of} or earlier that holds a model of that family is registered, so "
            f"there is nothing to update. {REMEDY} and evaluate it first."
        )
    spec = dataset.record.spec
    same_spec = [version for version in versions if version.dataset_spec in (None, spec) and is_loadable(version)]
    newest = max(same_spec or versions, key=lambda version: (version.as_of, version.version))
    model = load_model(settings, newest.model_uri)
    _require_same_spec(newest, model.spec, spec)
    return Parent(newest, model)


def new_to_parent(parent: Parent, dataset: Dataset) -> NewExamples:
    """What is new to the parent in train and validation.

    Raises:
        LearningError: the parent knows labels that were not known when the test rows begin.
    """
    split, known_until = dataset.record.split, parent.model.fitted.known_until
    border = pd.Timestamp(split.test_start) - pd.Timedelta(days=split.embargo_days)
    if known_until > border:
        raise LearningError(
            f"{_name(parent.version)} has learned labels known until {known_until}, but the test rows of "
            f"{dataset.record.as_of} may only be judged by models that know none after {border}. {REMEDY}."
        )
    return new_examples(parent.model.provenance.learned, dataset.parts.past)


def new_examples(learned: Fingerprints, examples: Examples) -> NewExamples:
    """Examples, told apart by whether they are among those learned from."""
    known = learned.contains(examples)
    past = examples.take(np.flatnonzero(known))
    return NewExamples(examples.take(np.flatnonzero(~known)), past, lost=len(learned) - len(past))


def _require_same_spec(version: ModelVersion, theirs: DatasetSpec, ours: DatasetSpec) -> None:
    differing = [
        f"{name} {getattr(theirs, name)} there, {value} here"
        for name, value in ours.model_dump().items()
        if getattr(theirs, name) != value
    ]
    if differing:
        raise LearningError(
            f"{_name(version)} learned from examples chosen and split otherwise: {'; '.join(differing)}. {REMEDY}, or "
            "materialise temporal_split with the choices made there."
        )


def _name(version: ModelVersion) -> str:
    return f"{version.family} v{version.version} (as of {version.as_of})"
