"""The training guide's notebook API: rows from the database, a temporal split, models, studies, updates.

It calls the same functions as the assets. What waits for the database, or computes for long, is awaited.
"""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from pydantic import Field, SecretStr, field_validator

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples, check_enough
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition
from cleverbetter_dagster.errors import InvalidInput, NotEnoughRows
from cleverbetter_dagster.learning.catalogue import DEFAULT_FAMILY, get_family
from cleverbetter_dagster.learning.model import Params
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.services.ingest.loading import load_history
from cleverbetter_dagster.services.notebook.example_frames import examples_of, frames_of
from cleverbetter_dagster.services.notebook.trained_model import TrainedModel, fit, update
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split
from cleverbetter_dagster.services.training.tune import tune
from cleverbetter_dagster.services.training.update import new_examples
from cleverbetter_dagster.settings import Settings, load_settings

__all__ = ["TrainedModel", "TrainingConfig", "TrainingPipeline"]

Split = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.Series, pd.Series, pd.Series]


class TrainingConfig(DatasetSpec):
    """Where the rows are, and how they become examples: the fields of `DatasetSpec`, and these."""

    database_url: SecretStr | None = Field(None, description="PostgreSQL with the rows; None: as DATABASE_URL says")
    as_of: str | None = Field(None, description="month to stand at, YYYY-MM; None: the newest with rows")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="the only source of randomness")
    threads: int | None = Field(
        None, ge=1, le=256, description="threads a fit may use; None: as CLEVERBETTER_THREADS says"
    )

    @field_validator("as_of")
    @classmethod
    def _is_a_month(cls, key: str | None) -> str | None:
        return AsOf.parse(key).key if key is not None else None

    @property
    def dataset(self) -> DatasetSpec:
        """The part that says how examples are made."""
        return DatasetSpec(**{name: getattr(self, name) for name in DatasetSpec.model_fields})

    def settings(self) -> Settings:
        """The environment's settings, with what is set here in their place."""
        own = {"database_url": self.database_url, "threads": self.threads}
        return load_settings().model_copy(update={name: value for name, value in own.items() if value is not None})


class TrainingPipeline:
    """The guide's pipeline. It works on the rows last passed to `preprocess_data`, and on frames of that call."""

    def __init__(self, config: TrainingConfig | None = None) -> None:
        """Connects to nothing yet."""
        self.config = config or TrainingConfig()
        self._dataset: Dataset | None = None

    async def load_data_from_database(self) -> pd.DataFrame:
        """Every plausible row up to the end of `as_of`; the others go to quarantine.

        Returns:
            Canonical rows (`dataset.schema`), market features as `ml_...`.

        Raises:
            NotEnoughRows: there are none.
            DatabaseError: the database does not answer, or lacks the tables.
        """
        return await asyncio.to_thread(load_history, self.config.settings(), self.config.as_of)

    def preprocess_data(self, data: pd.DataFrame) -> Split:
        """Labels, features and the purged temporal split (60/20/20 unless configured otherwise) of canonical rows.

        Returns:
            X_train, X_val, X_test (float64[n, features]), y_train, y_val, y_test (int8[n]): all indexed by row id.
            By that id the other methods find a row's decision time, label time and return.

        Raises:
            NotEnoughRows: fewer examples than `min_examples`, or a part is empty.
            DataError: `data` holds no canonical rows.
        """
        if data.empty:
            raise NotEnoughRows("0 rows to preprocess; load some, or check as_of and DATABASE_URL.")
        spec = self.config.dataset
        as_of = AsOf.parse(self.config.as_of) if self.config.as_of else AsOf.of(data[spec.decision_time].max())
        dataset = plan_split(data, as_of, spec)
        check_enough(dataset.record.split.usable_rows, spec)
        self._dataset = dataset
        parts = dataset.parts
        X, y = zip(*(frames_of(part) for part in (parts.train, parts.validation, parts.test)), strict=True)
        return (*X, *y)

    async def train_model(
        self,
        X_train: pd.DataFrame,
        y_train: ArrayLike,
        X_val: pd.DataFrame,
        y_val: ArrayLike,
        model_type: str = DEFAULT_FAMILY,
        params: Params | None = None,
    ) -> TrainedModel:
        """Fit a family on train and the later validation rows.

        Args:
            X_train, y_train, X_val, y_val: frames of `preprocess_data`, or rows of them.
            model_type: the name of a family in `learning/catalogue.py`, such as `ensemble`.
            params: hyperparameters, as `hyperparameter_search` returns them; those left out take their defaults.

        Raises:
            UnknownFamily: no family is called `model_type`.
            InvalidInput: rows this pipeline did not preprocess.
            LearningError: as the family's `fit`.
        """
        dataset = self._with_parts(X_train, y_train, X_val, y_val)
        seed, threads = self.config.seed, self.config.settings().threads
        return await asyncio.to_thread(fit, dataset, model_type, dict(params or {}), seed, threads)

    async def hyperparameter_search(
        self,
        X_train: pd.DataFrame,
        y_train: ArrayLike,
        X_val: pd.DataFrame,
        y_val: ArrayLike,
        model_type: str = DEFAULT_FAMILY,
        n_trials: int | None = None,
    ) -> dict[str, Any]:
        """Search a family's hyperparameters with Optuna, judged on temporal folds of train and validation.

        The study is kept in the database: on the same rows it goes on where it stopped, at most to `n_trials`. None
        takes the family's number, 100 unless its `study_defaults` have another.

        Returns:
            Every hyperparameter of the best trial, for `train_model(..., params=...)`.

        Raises:
            InvalidInput: `n_trials` is below 1; the rest as in `train_model`.
        """
        if n_trials is not None and n_trials < 1:
            raise InvalidInput(f"n_trials is {n_trials}, must be at least 1.")
        family, dataset = get_family(model_type), self._with_parts(X_train, y_train, X_val, y_val)
        usual = StudySpec(**family.study_defaults)
        trials = usual.n_trials if n_trials is None else n_trials
        own = {"seed": self.config.seed, "embargo_days": self.config.embargo_days, "timeout_seconds": None}
        study = usual.model_copy(update={"n_trials": trials, "n_trials_warm": trials, **own})
        tuned = await asyncio.to_thread(tune, self.config.settings(), family.name, dataset, study)
        return dict(tuned.record.params)

    async def incremental_train(
        self, existing_model: TrainedModel, X_new: pd.DataFrame, y_new: ArrayLike
    ) -> TrainedModel:
        """A model that has also learned from new rows, and rehearses known ones; `existing_model` stays as it is.

        Args:
            existing_model: from `train_model`, `incremental_train` or `ModelRegistry.load_model`.
            X_new, y_new: as `new_examples` returns them, or rows of frames of the last `preprocess_data`.

        Raises:
            InvalidInput: rows this pipeline did not preprocess, or that the model has learned from already.
            LearningError: the update is refused; see `learning.family.require_update`.
        """
        dataset = self._current()
        new = examples_of(dataset.panel, X_new, y_new, "X_new")
        past = new_examples(existing_model.provenance.learned, new).past
        if len(past):
            raise InvalidInput(
                f"{len(past)} of {len(new)} rows of X_new were learned from already, such as {past.ids.iloc[0]!r}: "
                "pass only new ones; new_examples(existing_model) gives them."
            )
        return await asyncio.to_thread(update, existing_model, new, dataset, self.config.settings().threads)

    def new_examples(self, existing_model: TrainedModel) -> tuple[pd.DataFrame, pd.Series]:
        """The labelled rows before the test part that a model has not learned from, for `incremental_train`."""
        parts = self._current().parts
        examples = parts.past
        return frames_of(new_examples(existing_model.provenance.learned, examples).new)

    def _with_parts(self, X_train: pd.DataFrame, y_train: ArrayLike, X_val: pd.DataFrame, y_val: ArrayLike) -> Dataset:
        """The current dataset with these rows as its train and validation parts, and a hash of them."""
        dataset = self._current()
        train = examples_of(dataset.panel, X_train, y_train, "X_train")
        validation = examples_of(dataset.panel, X_val, y_val, "X_val")
        parts = dataset.parts
        if train.frame.equals(parts.train.frame) and validation.frame.equals(parts.validation.frame):
            return dataset
        # Rows or values were changed, so neither the study nor the hash of the as_of's own rows fits.
        record = dataset.record.model_copy(update={"data_hash": _hash_of(train, validation)})
        return replace(dataset, record=record, parts=Partition(train, validation, parts.test, parts.split))

    def _current(self) -> Dataset:
        if self._dataset is None:
            raise InvalidInput("Nothing was preprocessed yet: call preprocess_data on the rows first.")
        return self._dataset


def _hash_of(*parts: Examples) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(pd.util.hash_pandas_object(part.frame, index=False).to_numpy().tobytes())
        digest.update(",".join(part.frame.columns).encode())
    return digest.hexdigest()[:16]
