"""MLflow runs: where they are kept, and one run per model. The models themselves are in `model_package`.

Everything goes through an `MlflowClient` with its address given, so no global address, active run or `./mlruns`
is left behind. MLflow is imported inside functions, because that takes seconds. Addresses may hold a password and
are never logged, tagged or put into a message.
"""

import json
import logging
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from pydantic_core import to_json

from cleverbetter_dagster.errors import ModelNotFound, SettingsError
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster.store.database import advisory_lock, database_url, psycopg_connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Read by MLflow when it is imported, which happens inside functions here: nothing is sent anywhere, no bars in logs.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

EXPERIMENT_LOCK = "mlflow experiment"
MIGRATION_LOCK = "mlflow migration"
BATCH = 100
"""Most params or tags MLflow takes in one call; it takes ten times as many metrics."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSpec:
    """What is known of a model before it is trained.

    Attributes:
        family: model family, also the run's name.
        as_of: month the model stands at, such as `2023-12`.
        data_hash: hash of the rows it is trained on.
        params: hyperparameters; nested values are written as JSON.
        tags: further tags; they may not contradict those made from the other attributes.
        dagster_run_id: the Dagster run that trains it.
        parent_run_id: the MLflow run it is shown under.
    """

    family: str
    as_of: str
    data_hash: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    dagster_run_id: str | None = None
    parent_run_id: str | None = None

    def all_tags(self) -> dict[str, str]:
        """The tags a run of this spec begins with, MLflow's own included."""
        commit = code_version()
        known = {
            "family": self.family,
            "as_of": self.as_of,
            "data_hash": self.data_hash,
            "git_commit": commit,
            # Not "dagster_run_id": by that tag dagster-mlflow finds the one run of a whole Dagster run.
            "dagster.run_id": self.dagster_run_id,
            "mlflow.parentRunId": self.parent_run_id,
            "mlflow.source.git.commit": commit,
        }
        return {**self.tags, **{key: value for key, value in known.items() if value}}


class ModelRun:
    """An open MLflow run of one model. Made by `start_run` and `reopen_run`."""

    def __init__(self, client: "MlflowClient", run_id: str, experiment_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.experiment_id = experiment_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log hyperparameters. MLflow refuses to change one that was logged with another value."""
        from mlflow.entities import Param

        entities = [Param(name, _text(value)) for name, value in params.items()]
        for batch in _batches(entities, BATCH):
            self.client.log_batch(self.run_id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log numbers. Those that are None, NaN or infinite are unknown and are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        known = {name: float(value) for name, value in metrics.items() if value is not None and math.isfinite(value)}
        if unknown := sorted(metrics.keys() - known.keys()):
            log.info("No finite value to log for %s", ", ".join(unknown))
        entities = [Metric(name, value, now, step) for name, value in known.items()]
        for batch in _batches(entities, 10 * BATCH):
            self.client.log_batch(self.run_id, metrics=batch)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, replacing those of the same name."""
        from mlflow.entities import RunTag

        entities = [RunTag(name, str(value)) for name, value in tags.items()]
        for batch in _batches(entities, BATCH):
            self.client.log_batch(self.run_id, tags=batch)

    def log_file(self, path: str, content: bytes) -> None:
        """Keep `content` as the artefact `path`, such as `plots/roc.png`, replacing what was there."""
        folder, name = os.path.split(path)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / name
            file.write_bytes(content)
            self.client.log_artifact(self.run_id, str(file), folder or None)

    def log_text(self, path: str, text: str) -> None:
        """Keep a text (Markdown, HTML) as the artefact `path`."""
        self.log_file(path, text.encode())

    def log_json(self, path: str, record: BaseModel | Mapping[str, Any]) -> None:
        """Keep a record as the JSON artefact `path`. NaN and infinity, which JSON lacks, become null."""
        self.log_file(path, to_json(record, indent=2, inf_nan_mode="null"))


@contextmanager
def start_run(settings: Settings, spec: RunSpec) -> Iterator[ModelRun]:
    """A new run for one model, closed with the status that fits the way the block is left.

    FINISHED; FAILED on an error; KILLED where the process was told to stop (Ctrl-C, a terminated Dagster run).
    After `kill -9` it stays RUNNING.
    """
    client = mlflow_client(settings)
    created = client.create_run(experiment_id(settings), tags=spec.all_tags(), run_name=f"{spec.family} {spec.as_of}")
    run = ModelRun(client, created.info.run_id, created.info.experiment_id)
    with _closed(run):
        run.log_params(spec.params)
        yield run


@contextmanager
def reopen_run(settings: Settings, run_id: str) -> Iterator[ModelRun]:
    """The run of an existing model, to add to it what was learned later; closed as by `start_run`.

    Raises:
        ModelNotFound: MLflow has no such run.
    """
    from mlflow.exceptions import MlflowException

    client = mlflow_client(settings)
    try:
        found = client.get_run(run_id)
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ModelNotFound(
            f"MLflow has no run {run_id!r} in this deployment. Materialise the model again, or point "
            "MLFLOW_TRACKING_URI at the server that has it."
        ) from error
    run = ModelRun(client, run_id, found.info.experiment_id)
    with _closed(run):
        yield run


def read_run_json(settings: Settings, run_id: str, path: str) -> dict[str, Any]:
    """What `ModelRun.log_json` kept as the artefact `path` of a run.

    Raises:
        ModelNotFound: MLflow has no such run, or the run no such artefact.
    """
    from mlflow.exceptions import MlflowException

    try:
        with tempfile.TemporaryDirectory() as scratch:
            file = mlflow_client(settings).download_artifacts(run_id, path, scratch)
            found: dict[str, Any] = json.loads(Path(file).read_text())
    except (MlflowException, OSError, ValueError) as error:
        raise ModelNotFound(
            f"The MLflow run {run_id} has no readable {path}: {error}. Train the model again."
        ) from error
    return found


def tracking_uri(settings: Settings) -> str:
    """Where MLflow keeps runs: `MLFLOW_TRACKING_URI`, else the one database. May hold a password."""
    if settings.mlflow_tracking_uri is None:
        return database_url(settings, "mlflow")
    scheme, mark, address = settings.mlflow_tracking_uri.partition("://")
    # SQLAlchemy takes a bare postgresql:// to mean psycopg 3, which MLflow does not support.
    return (
        f"postgresql+psycopg2{mark}{address}" if scheme in ("postgresql", "postgres") else settings.mlflow_tracking_uri
    )


def run_page(settings: Settings, run_id: str, artefact: str) -> str:
    """Where a person opens an artefact of a run in MLflow's UI: the tracking server's, else that of `cleverbetter up`.

    A password in the server's address is left out.
    """
    address = urlsplit(settings.mlflow_tracking_uri or "")
    server = f"http://127.0.0.1:{settings.mlflow_port}"
    if address.scheme in ("http", "https"):
        port = f":{address.port}" if address.port else ""
        server = f"{address.scheme}://{address.hostname}{port}{address.path.rstrip('/')}"
    return f"{server}/#/experiments/{experiment_id(settings)}/runs/{run_id}/artifacts/{artefact}"


def mlflow_client(settings: Settings) -> "MlflowClient":
    """A client of this deployment's MLflow, whose tables exist.

    Raises:
        SettingsError: MLflow cannot use `MLFLOW_TRACKING_URI`.
    """
    return _prepared_client(settings, tracking_uri(settings))


def experiment_id(settings: Settings) -> str:
    """Id of this deployment's experiment, which is created, or restored if somebody deleted it, where needed.

    Where MLflow is a database, artefacts go to `artefact_folder`; a tracking server chooses for itself.
    """
    client = mlflow_client(settings)
    name = settings.mlflow_experiment_name
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "active":
        return str(experiment.experiment_id)
    with _locked(settings, EXPERIMENT_LOCK):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            location = artefact_folder(settings).as_uri() if _is_database(tracking_uri(settings)) else None
            return str(client.create_experiment(name, artifact_location=location))
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)


def artefact_folder(settings: Settings) -> Path:
    """Where the artefacts of runs and models lie when MLflow is a database."""
    return settings.state_folder / "mlartifacts"


@cache
def code_version() -> str:
    """The commit this package runs from, `-dirty` where files differ from it; else the package's version."""
    release = version("cleverbetter-dagster")
    if not (REPOSITORY / ".git").exists():
        return release
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return release
    return answer.stdout.strip()


@contextmanager
def _closed(run: ModelRun) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        run.client.set_terminated(run.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.client.set_terminated(run.run_id, "FINISHED")


@lru_cache(maxsize=8)
def _prepared_client(settings: Settings, uri: str) -> "MlflowClient":
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        if not _is_database(uri):
            return MlflowClient(uri)
        # The first client creates MLflow's tables, and two that do so at once both fail.
        with _locked(settings, MIGRATION_LOCK):
            return MlflowClient(uri)
    except MlflowException as error:
        reason = str(error.message).replace(uri, "that address")
        raise SettingsError(
            f"MLflow cannot use its {uri.partition(':')[0]} address: {reason}. Check MLFLOW_TRACKING_URI, or unset "
            "it to keep runs in the database; after an update of MLflow, run `mlflow db upgrade` on that database."
        ) from None


@contextmanager
def _locked(settings: Settings, name: str) -> Iterator[None]:
    with (
        closing(psycopg_connect(settings, "state", autocommit=True)) as connection,
        advisory_lock(connection, name),
    ):
        yield


def _is_database(uri: str) -> bool:
    return uri.partition(":")[0].partition("+")[0] in ("postgresql", "mysql", "sqlite", "mssql")


def _batches(entities: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (entities[start : start + size] for start in range(0, len(entities), size))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
