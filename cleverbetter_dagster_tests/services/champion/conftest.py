"""Models that know a share of the outcomes, and a deployment whose stored rows they are judged on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.schema import END_DATE
from cleverbetter_dagster.learning.model import FittedModel, feature_matrix
from cleverbetter_dagster.services.notebook.trained_model import TrainedModel, register_trained
from cleverbetter_dagster.services.stored_assets import ROWS, stored_rows
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split, rows_until
from cleverbetter_dagster.services.training.fit import UpdateInfo
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.tracking.package import TrainingProvenance
from cleverbetter_dagster_tests.services.conftest import AS_OF
from cleverbetter_dagster_tests.support.storable import storable

BASE_RATE = 0.35
KNOWN_SHARE = 0.4
"""Share of the outcomes that `Foreseer` knows: enough for any gate, too few to be too good to be true."""


@storable
@dataclass(frozen=True, eq=False)
class Foreseer(FittedModel):
    """Says what it was told of a row, found again by its features; of other rows, the base rate."""

    family = "ensemble"
    feature_names: tuple[str, ...]
    told: dict[str, float]
    known_until: pd.Timestamp

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        p = np.array([self.told.get(row.tobytes().hex(), BASE_RATE) for row in values])
        return {"probability": p, "score": p, "confidence": p}

    def feature_importance(self) -> pd.Series:
        return pd.Series(1.0 / len(self.feature_names), index=list(self.feature_names))

    def report(self) -> dict[str, float | int | str]:
        return {}


def foreseer(dataset: Dataset, known_share: float) -> Foreseer:
    """Of the test rows' outcomes it knows `known_share`, and is rightly confident of those."""
    test, names = dataset.parts.test, tuple(dataset.parts.test.X.columns)
    known = np.random.default_rng(0).random(len(test)) < known_share
    keys = [row.tobytes().hex() for row in feature_matrix(test.X, names)]
    probabilities = {
        key: 0.85 if label else 0.1 for key, label, is_known in zip(keys, test.y, known, strict=True) if is_known
    }
    return Foreseer(names, probabilities, dataset.parts.validation.label_time.max())


@pytest.fixture(scope="module")
def as_stored(tracked: Settings, dataset: Dataset, rows: pd.DataFrame) -> Dataset:
    """The dataset of `AS_OF`, of rows that are stored as `training_rows` stores them."""
    store = ArtefactStore(tracked.artefacts_base)
    for month, of_month in rows.groupby(rows[END_DATE].dt.strftime("%Y-%m")):
        store.write_table(f"{ROWS}/{month}.parquet", pa.Table.from_pandas(of_month, preserve_index=False))
    spec = dataset.record.spec.model_copy(update={"train_fraction": 0.5})  # so that the gate has its 6 months of tests
    return plan_split(rows_until(stored_rows(tracked, AS_OF), AS_OF), AS_OF, spec)


def registered(settings: Settings, dataset: Dataset, known_share: float) -> int:
    """The version of a model that knows so much, registered as a notebook registers one; judged by nobody."""
    model, learned = foreseer(dataset, known_share), Fingerprints.of(dataset.parts.past)
    provenance, update_info = TrainingProvenance({}, 0, 1, learned), UpdateInfo("full", None, len(learned), 0)
    return register_trained(settings, TrainedModel(model, provenance, update_info, dataset), "ensemble", {}, {})
