"""A fitted model with where it came from: what a notebook holds between fitting, registering and updating."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.dataset.splits import apply_split
from cleverbetter_dagster.learning.family import FittedModel, Report
from cleverbetter_dagster.learning.tuning import pooled
from cleverbetter_dagster.services.records import SplitRecord
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.model_package import StrategyModel, load_model, log_model
from cleverbetter_dagster.store.registry import ModelVersion, Registry
from cleverbetter_dagster.store.tracking import RunSpec, mlflow_client, start_run

SPLIT_FILE = "split.json"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A fitted model and its lineage. Predicts as scikit-learn's classifiers do.

    Attributes:
        fitted: the model itself.
        record: the split of the rows it was fitted on.
        params: every hyperparameter it was fitted with.
        learned: ids of the rows it learned from; None means train and validation of `record`.
    """

    fitted: FittedModel
    record: SplitRecord
    params: Mapping[str, Any]
    seed: int
    learned: frozenset[str] | None = field(default=None, repr=False)

    @property
    def family(self) -> str:
        return self.fitted.family

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

    def report(self) -> Report:
        """As `FittedModel.report`."""
        return self.fitted.report()

    def past(self, panel: pd.DataFrame) -> Examples:
        """The rows of a panel the model has learned from, of the same or of a later as_of."""
        if self.learned is not None:
            return Examples(panel[panel[ID].isin(self.learned)])
        parts = apply_split(panel, self.record.split)
        return pooled(parts.train, parts.validation)


def register_trained(
    settings: Settings, model: TrainedModel, metrics: Mapping[str, float | None], tags: Mapping[str, str]
) -> int:
    """Keep a model in an MLflow run of its own, with its metrics, and register it as its family's next version."""
    spec = RunSpec(
        family=model.family,
        as_of=model.record.as_of,
        data_hash=model.record.data_hash,
        params={**model.params, "seed": model.seed, "dataset": model.record.spec.model_dump()},
        tags=tags,
    )
    with start_run(settings, spec) as run:
        log_model(run, StrategyModel(model.fitted, model.record.spec))
        run.log_json(SPLIT_FILE, model.record)
        run.log_metrics(metrics)
    return Registry(settings).register(run.run_id, model.family)


def load_trained(settings: Settings, version: ModelVersion) -> TrainedModel:
    """A registered version with the lineage its run recorded; its hash is checked before it is opened."""
    from mlflow.artifacts import load_dict

    client = mlflow_client(settings)
    run = client.get_run(version.run_id)
    record = load_dict(f"{run.info.artifact_uri}/{SPLIT_FILE}")
    seed = int(run.data.params.get("seed", 0))
    params = {name: value for name, value in run.data.params.items() if name not in ("seed", "dataset")}
    packed = load_model(settings, version.model_uri)
    return TrainedModel(packed.fitted, SplitRecord.model_validate(record), params, seed)
