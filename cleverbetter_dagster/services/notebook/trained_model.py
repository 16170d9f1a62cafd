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
from cleverbetter_dagster.services.training.fit import UpdateInfo, log_model_run, run_spec
from cleverbetter_dagster.services.training.update import new_examples
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import TrainingProvenance, load_model
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry
from cleverbetter_dagster.store.tracking.runs import start_run


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A fitted model and where it came from. Predicts as scikit-learn's classifiers do.

    Attributes:
        fitted: the model itself.
        provenance: hyperparameters, seed, and the rows it has learned from.
        update_info: whether it was fitted anew, or from which version it goes on.
        dataset: the rows and the split of its as_of; None for one loaded from the registry, which is there already.
    """

    fitted: FittedModel
    provenance: TrainingProvenance
    update_info: UpdateInfo
    dataset: Dataset | None

    @property
    def family(self) -> str:
        """Name of its family."""
        return self.fitted.family

    @property
    def params(self) -> Params:
        """Every hyperparameter it was fitted with."""
        return self.provenance.params

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """As `FittedModel.predict`."""
        return self.fitted.predict(X)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """As `FittedModel.predict_proba`."""
        return self.fitted.predict_proba(X)


def fit(dataset: Dataset, family_name: str, params: Params, seed: int, threads: int) -> TrainedModel:
    """Fit a family on train and validation of a dataset; hyperparameters left out take their defaults."""
    family, parts = get_family(family_name), dataset.parts
    every_param = {**family.default_params(), **params}
    fitted = family.fit(parts.train, parts.validation, every_param, seed, threads)
    provenance = TrainingProvenance(every_param, seed, 1, Fingerprints.of(parts.past))
    return TrainedModel(fitted, provenance, UpdateInfo("full", None, len(provenance.learned), 0), dataset)


def update(model: TrainedModel, new: Examples, dataset: Dataset, threads: int) -> TrainedModel:
    """The model after new examples of a dataset's panel, rehearsing those of it that it has learned from."""
    panel, provenance = dataset.panel, model.provenance
    known = new_examples(provenance.learned, Examples(panel[panel[LABEL].notna()]))
    fitted = get_family(model.family).update(model.fitted, new, known.past, provenance.seed, threads)
    update_info = UpdateInfo("incremental", model.update_info.parent_version, len(new), known.lost)
    return replace(model, fitted=fitted, provenance=provenance.after(new), update_info=update_info, dataset=dataset)


def register_trained(
    settings: Settings, model: TrainedModel, name: str, metrics: Mapping[str, float | None], tags: Mapping[str, str]
) -> int:
    """Log a model in an MLflow run of its own, with its metrics, and register it as the next version of `name`.

    Raises:
        RegistryError: it was loaded from the registry and not changed since.
    """
    if model.dataset is None:
        raise RegistryError(f"This {model.family} comes from the registry unchanged; it is registered already.")
    with start_run(settings, run_spec(model.family, model.dataset, model.provenance, None)) as run:
        run.set_tags(tags)
        log_model_run(run, model.fitted, model.dataset, model.provenance, model.update_info)
        run.log_metrics(metrics)
    return Registry(settings).register(run.run_id, name)


def load_trained(settings: Settings, version: ModelVersion) -> TrainedModel:
    """A registered version with its provenance; its hash is checked before it is opened.

    Raises:
        ModelNotFound, ModelTampered: as `load_model`.
    """
    packed = load_model(settings, version.model_uri)
    update_info = UpdateInfo("full", version.version, len(packed.provenance.learned), 0)
    return TrainedModel(packed.fitted, packed.provenance, update_info, None)
