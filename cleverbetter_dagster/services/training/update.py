"""From the newest version of a family to the next one, which has learned only what came since.

What is new is told by content: the examples of this as_of's train and validation that are not among those the parent
has learned from. So rows labelled since, rows that landed late and rows corrected upstream are new alike. The test
rows stay unseen: an update is refused where the parent knows more than was known when they begin.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition
from cleverbetter_dagster.errors import LearningError, ModelNotFound, RegistryError
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.records import ModelRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.fit import Ancestry, Lineage, keep, run_spec
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import Origin, load_model
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry
from cleverbetter_dagster.store.tracking.runs import start_run

REMEDY = "Train in full (training: full)"


@dataclass(frozen=True)
class Parent:
    """A registered version to go on from: its model, and how it came to be."""

    version: ModelVersion
    fitted: FittedModel
    origin: Origin


@dataclass(frozen=True)
class Landing:
    """What a parent has not learned from, and what it has, among the examples of an as_of; test rows are in neither.

    Attributes:
        lost: examples the parent has learned from that are no longer there as they were.
    """

    new: Examples
    past: Examples
    lost: int


def incremental_train(
    model: FittedModel, new: Examples, past: Examples | None = None, seed: int = 0, threads: int = 1
) -> FittedModel:
    """The model, by its own family, after new examples; `model` stays as it is.

    Args:
        model: of a family in the catalogue.
        new: labelled rows it has not learned from.
        past: rows it has learned from, to rehearse; where there are none, families rehearse what they remember.
        seed: the only source of randomness.
        threads: threads the update may use, >= 1.

    Raises:
        LearningError: as `Family.update`.
    """
    rehearsed = new.take(np.arange(0)) if past is None else past
    return get_family(model.family).update(model, new, rehearsed, seed, threads)


def update(
    settings: Settings, family: str, dataset: Dataset, lineage: Lineage | None = None
) -> tuple[ModelRecord, FittedModel]:
    """The family's newest version as of the dataset's month, after what it has not learned from yet.

    Hyperparameters are the parent's. Where nothing is new there is no new model: the record is the parent's own, with
    0 rows added.

    Raises:
        ModelNotFound: no version stands at this as_of or before, or its files are gone.
        ModelTampered: its files are not those that were logged.
        RegistryError, LearningError: it cannot be gone on from; the message says why. Nothing else is tried instead.
    """
    parent = parent_of(settings, family, dataset)
    landing = landing_of(parent, dataset)
    ancestry = Ancestry("incremental", parent.version.version, len(landing.new), landing.lost)
    if not len(landing.new):
        return _own(parent, dataset, ancestry), parent.fitted
    origin = parent.origin.after(landing.new)
    with start_run(settings, run_spec(family, dataset, origin, lineage)) as run:
        model = incremental_train(parent.fitted, landing.new, landing.past, origin.seed, settings.threads)
        return keep(run, model, dataset, origin, ancestry), model


def parent_of(settings: Settings, family: str, dataset: Dataset) -> Parent:
    """The family's newest version of an as_of no later than the dataset's, of those made with the same choices.

    Raises:
        ModelNotFound, ModelTampered, RegistryError: as `update`.
    """
    as_of = dataset.record.as_of
    versions = [
        found
        for found in Registry(settings).list_versions(family)
        if found.as_of <= as_of and found.model_family == family
    ]
    if not versions:
        raise ModelNotFound(
            f"No version of {family!r} as of {as_of} or earlier that holds a model of that family is registered, so "
            f"there is nothing to update. {REMEDY} and evaluate it first."
        )
    wanted = dataset.record.spec
    alike = [found for found in versions if found.dataset_spec in (None, wanted)]
    newest = max(alike or versions, key=lambda found: (found.as_of, found.version))
    model = load_model(settings, newest.model_uri)
    if model.origin is None:
        raise RegistryError(
            f"{family} v{newest.version} does not say which rows it has learned from: it is of an earlier release. "
            f"{REMEDY} once."
        )
    _require_same_spec(newest, model.spec, wanted)
    return Parent(newest, model.fitted, model.origin)


def landing_of(parent: Parent, dataset: Dataset) -> Landing:
    """What is new to the parent in train and validation.

    Raises:
        LearningError: the parent knows labels that were not known when the test rows begin.
    """
    split, known = dataset.record.split, parent.fitted.known_until
    border = pd.Timestamp(split.test_start) - pd.Timedelta(days=split.embargo_days)
    if known > border:
        raise LearningError(
            f"{_name(parent.version)} has learned labels known until {known}, but the test rows of "
            f"{dataset.record.as_of} may only be judged by models that know none after {border}. {REMEDY}."
        )
    return new_to(parent.origin.learned, dataset.parts)


def new_to(learned: Fingerprints, parts: Partition) -> Landing:
    """Train and validation, told apart by what has been learned from."""
    examples = pooled(parts.train, parts.validation)
    known = learned.contains(examples)
    past = examples.take(np.flatnonzero(known))
    return Landing(examples.take(np.flatnonzero(~known)), past, lost=len(learned) - len(past))


def _require_same_spec(version: ModelVersion, spec: DatasetSpec, wanted: DatasetSpec) -> None:
    theirs, ours = spec.model_dump(), wanted.model_dump()
    differing = [f"{name} {theirs[name]} there, {ours[name]} here" for name in ours if theirs[name] != ours[name]]
    if differing:
        raise LearningError(
            f"{_name(version)} learned from examples chosen and split otherwise: {'; '.join(differing)}. {REMEDY}, or "
            "materialise temporal_split with the choices made there."
        )


def _own(parent: Parent, dataset: Dataset, ancestry: Ancestry) -> ModelRecord:
    version, origin = parent.version, parent.origin
    return ModelRecord(
        family=version.family,
        as_of=dataset.record.as_of,
        run_id=version.run_id,
        model_uri=version.model_uri,
        sha256=version.sha256,
        params=dict(origin.params),
        trials=origin.trials,
        seed=origin.seed,
        data_hash=dataset.record.data_hash,
        fitted_rows=len(origin.learned),
        watermark=parent.fitted.known_until,
        **vars(ancestry),
    )


def _name(version: ModelVersion) -> str:
    return f"{version.family} v{version.version} (as of {version.as_of})"
