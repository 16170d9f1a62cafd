"""A fitted model packed with all it needs to score raw rows, as an MLflow `pyfunc` model.

Its own files hold no code (`plain_files`), but `MLmodel` beside them names the module that `mlflow.pyfunc` imports. So
all of them are hashed when the model is logged, and `files` compares them with that hash before any is read.
`load_model` takes nothing from `MLmodel`. MLflow is imported inside functions.
"""

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.panel import feature_frame
from cleverbetter_dagster.dataset.quality.categories import SEPARATOR
from cleverbetter_dagster.dataset.schema import ALIASES, JSON_FEATURES, METHOD, OPTIONAL, REQUIRED, ROI, market_columns
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import InvalidInput, ModelOutdated
from cleverbetter_dagster.learning.catalogue import stored_types
from cleverbetter_dagster.learning.model import CONFIDENCE, PROBABILITY, SCORE, FittedModel, Params
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.tracking.files import (
    SHA256_TAG,
    compare,
    contents_sha256,
    files_below,
    verified_files,
)
from cleverbetter_dagster.store.tracking.model_hashes import record_hash, recorded_hash
from cleverbetter_dagster.store.tracking.places import write_files
from cleverbetter_dagster.store.tracking.plain_files import FORMAT, model_of, plain_files
from cleverbetter_dagster.store.tracking.raw_rows import PART_OF_HISTORY, bare_name, canonical_rows, require_history
from cleverbetter_dagster.store.tracking.registry import FORMAT_TAG, ModelVersion
from cleverbetter_dagster.store.tracking.runs import ModelRun

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

FOLDER = "model"
FOLDER_IN_PACKAGE = f"data/{FOLDER}"
GIVEN_HASH = {"sha256": ""}
"""What a person may set when MLflow loads a model: the hash of its files."""

REQUIREMENTS = ("cleverbetter-dagster", "lightgbm", "mlflow", "numpy", "pandas", "scikit-learn")
MAY_BE_ABSENT = (*OPTIONAL, METHOD, *ALIASES[ROI], *JSON_FEATURES)


@dataclass(frozen=True)
class TrainingProvenance:
    """How a model was trained, and what its update needs.

    Attributes:
        params: hyperparameters it was fitted with.
        seed: of the fit.
        trials: trials of the search that chose these hyperparameters.
        learned: the examples it has learned from.
        pruned_trials, earlier_trials: of these trials, those stopped early in the last study, and those of the studies
            it started from.
    """

    params: Params
    seed: int
    trials: int
    learned: Fingerprints
    pruned_trials: int = 0
    earlier_trials: int = 0

    def after(self, new: Examples) -> "TrainingProvenance":
        """The provenance of the model that has learned from `new` as well."""
        return replace(self, learned=self.learned.with_new(new))


@dataclass(frozen=True)
class StrategyModel:
    """A fitted model and its dataset options: raw rows in, probabilities out."""

    fitted: FittedModel
    spec: DatasetSpec
    provenance: TrainingProvenance

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features the model was fitted on."""
        return self.fitted.feature_names

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Score raw backtest rows.

        Args:
            rows: columns of `dataset.schema.REQUIRED`, and market features as columns, with or without `ml_`, or in a
                JSON column of `JSON_FEATURES`. `total_return` may stand for `roi`, `method` may be absent. Values may
                be texts, as in PostgreSQL's CSV; dates without a time zone are UTC. The history of a strategy, and what
                it is compared with, come from these rows alone: give all rows of all strategies. Not mutated.
            params: `{"part_of_history": True}` scores rows that are fewer than the model learned from; the
                probabilities then differ from those that the whole table gives.

        Returns:
            float64 frame with the index of `rows`: `probability` (calibrated), `score` (raw) and `confidence`, each in
            0..1, and further columns of the family.

        Raises:
            DataError: a column is missing, or a value is no number or no date; names its row. Or the rows are fewer
                than the model learned from.
            LearningError: the features do not fit the model.
        """
        if not (params or {}).get(PART_OF_HISTORY):
            require_history(rows, len(self.provenance.learned))
        canonical = canonical_rows(rows, market_columns(self.feature_names))
        return self.fitted.predict_frame(feature_frame(canonical, self.spec)).set_axis(rows.index)


@dataclass(frozen=True)
class PackedModel:
    """Address of a packed model (`models:/m-...`), and the hash of its files."""

    model_uri: str
    sha256: str


def _stored_types() -> tuple[type, ...]:
    return (StrategyModel, DatasetSpec, TrainingProvenance, Fingerprints, *stored_types())


def log_model(run: ModelRun, model: StrategyModel) -> PackedModel:
    """Pack `model`, hash it and log it to the run it was trained in; it can then be registered."""
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    client = run.client
    logged = client.create_logged_model(
        run.experiment_id, name=model.fitted.family, source_run_id=run.run_id, model_type=model.fitted.family
    )
    client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "package"
        own = Path(scratch) / FOLDER
        own.mkdir()
        for name, content in plain_files(model, _stored_types()).items():
            (own / name).write_bytes(content)
        with warnings.catch_warnings():
            # A betting team's rows must not be stored as an example beside a model.
            warnings.filterwarnings("ignore", message=".*input example")
            mlflow.pyfunc.save_model(
                folder,
                loader_module=__name__,
                data_path=str(own),
                mlflow_model=Model(run_id=run.run_id, model_id=logged.model_id, model_uuid=logged.model_id),
                signature=signature(model),
                model_config=GIVEN_HASH,  # MLflow passes on only what the model knows of
                # Without this list MLflow takes five seconds to find the requirements.
                pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            )
        contents = files_below(folder)
        sha256 = contents_sha256(contents)
        record_hash(run.settings, logged.model_id, sha256)
        if not write_files(run.settings, logged.artifact_location, contents):
            client.log_model_artifacts(logged.model_id, str(folder))
    client.set_logged_model_tags(logged.model_id, {SHA256_TAG: sha256})
    client.finalize_logged_model(logged.model_id, "READY")
    run.set_tags({SHA256_TAG: sha256, FORMAT_TAG: FORMAT})
    run.log_json("features.json", {"features": list(model.feature_names), "dataset": model.spec.model_dump()})
    return PackedModel(f"models:/{logged.model_id}", sha256)


def load_model(settings: Settings, model_uri: str) -> StrategyModel:
    """The model at `models:/m-<id>`, `models:/<family>/<version>` or `models:/<family>@champion`, hash checked.

    Raises:
        ModelNotFound: there is no such model, or its files are gone.
        ModelTampered: its files were changed, or no hash was recorded for them.
        ModelOutdated: another release trained it, and this one cannot load it, such as one that stored pickles.
        RegistryError: somebody else registered it, or its files are in another place than those of our models.
    """
    return _read(verified_files(settings, model_uri), model_uri)


def is_loadable(version: ModelVersion) -> bool:
    """Whether this release can load a version, as its tags say. The model is not opened."""
    return version.tags.get(FORMAT_TAG) == FORMAT


def require_loadable(version: ModelVersion) -> None:
    """Refuse a version that this release cannot load.

    Raises:
        ModelOutdated: another release packed it.
    """
    if not is_loadable(version):
        raise ModelOutdated(_outdated(f"{version.family} v{version.version}"))


def check_model(settings: Settings, model_uri: str) -> str:
    """The hash of a model, if its files are unchanged since they were logged. Runs none of them.

    Raises:
        RegistryError: as `load_model`.
    """
    return contents_sha256(verified_files(settings, model_uri))


def signature(model: StrategyModel) -> "ModelSignature":
    """Input and output columns of the packed model. Values may have any type: `predict` converts them."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    required = [name for name in REQUIRED if name not in MAY_BE_ABSENT]
    # MLflow drops columns it does not know, so the category of an indicator is listed too, and names without prefix.
    market = [each for name in market_columns(model.feature_names) for each in (name, name.partition(SEPARATOR)[0])]
    optional = dict.fromkeys([*MAY_BE_ABSENT, *market, *filter(None, map(bare_name, market))])
    columns = [(name, True) for name in required] + [(name, False) for name in optional]
    return ModelSignature(
        Schema([ColSpec(AnyType(), name, needed) for name, needed in columns]),
        Schema([ColSpec(DataType.double, name) for name in (PROBABILITY, SCORE, CONFIDENCE)]),
        ParamSchema([ParamSpec(PART_OF_HISTORY, DataType.boolean, False)]),
    )


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> StrategyModel:
    """What `mlflow.pyfunc.load_model` calls.

    Args:
        data_path: our files in the folder into which MLflow put the model.
        model_config: `{"sha256": ...}` is the hash to compare with where the database that recorded it is not at hand.

    Raises:
        ModelTampered: as `load_model`.
        DatabaseUnavailable, SettingsError: the database that recorded the hash cannot be asked.
    """
    from mlflow.models import Model

    folder = Path(data_path).parent.parent
    contents = files_below(folder)
    known = (model_config or {}).get("sha256") or recorded_hash(load_settings(), str(Model.load(str(folder)).model_id))
    compare(str(folder), contents, known)
    return _read(contents, str(folder))


def _read(contents: Mapping[str, bytes], place: str) -> StrategyModel:
    beginning = f"{FOLDER_IN_PACKAGE}/"
    own = {name.removeprefix(beginning): each for name, each in contents.items() if name.startswith(beginning)}
    try:
        model = model_of(own, _stored_types())
        if not isinstance(model, StrategyModel):
            raise TypeError(f"a {type(model).__name__}, not a StrategyModel")
    except (LookupError, TypeError, ValueError, AttributeError, InvalidInput) as error:
        # Its hash was right, so it was written so: by a release with other files, classes or fields.
        raise ModelOutdated(_outdated(place)) from error
    return model


def _outdated(name: str) -> str:
    return f"The model {name} was trained by another release of this package and cannot be loaded; train it again."
