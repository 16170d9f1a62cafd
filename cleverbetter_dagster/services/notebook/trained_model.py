"""A fitted model with where it came from: what a notebook holds between fitting, registering and updating."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.labels import LABEL
from cleverbetter_dagster.errors import RegistryError
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.model import FittedModel, Params
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.fit import Ancestry, keep, run_spec
from cleverbetter_dagster.services.training.update import incremental_train
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import Origin, load_model
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry
from cleverbetter_dagster.store.tracking.runs import start_run


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A fitted model and its lineage. Predicts as scikit-learn's classifiers do.

    Attributes:
        fitted: the model itself.
        origin: hyperparameters, seed, and the rows it has learned from.
        ancestry: what it was made from.
        dataset: the rows and the split it stands at; None for one loaded from the registry, which is there already.
    """

    fitted: FittedModel
    origin: Origin
    ancestry: Ancestry
    dataset: Dataset | None

    @property
    def family(self) -> str:
        """Name of its family."""
        return self.fitted.family

    @property
    def params(self) -> Params:
        """Every hyperparameter it was fitted with."""
        return self.origin.params

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """As `FittedModel.predict`."""
        return self.fitted.predict(X)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """As `FittedModel.predict_proba`."""
        return self.fitted.predict_proba(X)

    def describe(self, X: pd.DataFrame) -> pd.DataFrame:
        """As `FittedModel.describe`."""
        return self.fitted.describe(X)

    def feature_importance(self) -> pd.Series:
        """As `FittedModel.feature_importance`."""
        return self.fitted.feature_importance()


def fit(dataset: Dataset, family_name: str, params: Params, seed: int, threads: int) -> TrainedModel:
    """Fit a family on train and validation of a dataset; hyperparameters left out take their defaults."""
    family, parts = get_family(family_name), dataset.parts
    chosen = {**family.default_params(), **params}
    fitted = family.fit(parts.train, parts.validation, chosen, seed, threads)
    origin = Origin(chosen, seed, 1, Fingerprints.of([parts.train, parts.validation]))
    return TrainedModel(fitted, origin, Ancestry("full", None, len(origin.learned), 0), dataset)


def learned_and_new(model: TrainedModel, examples: Examples) -> tuple[Examples, Examples]:
    """The examples the model has learned from, and the others."""
    learned = model.origin.learned.contains(examples)
    return examples.take(np.flatnonzero(learned)), examples.take(np.flatnonzero(~learned))


def update(model: TrainedModel, new: Examples, dataset: Dataset, threads: int) -> TrainedModel:
    """The model after new examples of a dataset's panel, rehearsing those of it that it has learned from."""
    panel = dataset.panel
    past, _ = learned_and_new(model, Examples(panel[panel[LABEL].notna()]))
    fitted = incremental_train(model.fitted, new, past, model.origin.seed, threads)
    lost = len(model.origin.learned) - len(past)
    ancestry = Ancestry("incremental", model.ancestry.parent_version, len(new), lost)
    return replace(model, fitted=fitted, origin=model.origin.after(new), ancestry=ancestry, dataset=dataset)


def register_trained(
    settings: Settings, model: TrainedModel, name: str, metrics: Mapping[str, float | None], tags: Mapping[str, str]
) -> int:
    """Keep a model in an MLflow run of its own, with its metrics, and register it as the next version of `name`.

    Raises:
        RegistryError: it was loaded from the registry and not changed since.
    """
    if model.dataset is None:
        raise RegistryError(f"This {model.family} comes from the registry unchanged; it is registered already.")
    with start_run(settings, run_spec(model.family, model.dataset, model.origin, None)) as run:
        run.set_tags(tags)
        keep(run, model.fitted, model.dataset, model.origin, model.ancestry)
        run.log_metrics(metrics)
    return Registry(settings).register(run.run_id, name)


def load_trained(settings: Settings, version: ModelVersion) -> TrainedModel:
    """A registered version with its lineage; its hash is checked before it is opened.

    Raises:
        ModelNotFound, ModelTampered: as `load_model`.
        RegistryError: it does not say which rows it has learned from.
    """
    packed = load_model(settings, version.model_uri)
    if packed.origin is None:
        raise RegistryError(
            f"{version.family} v{version.version} does not say which rows it has learned from; train it again."
        )
    ancestry = Ancestry("full", version.version, len(packed.origin.learned), 0)
    return TrainedModel(packed.fitted, packed.origin, ancestry, None)
