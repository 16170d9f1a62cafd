"""One MLflow run per model: its first tags, what is logged to it, and how it ends.

`client` says where MLflow is, and `package` logs the models themselves.
"""

import json
import logging
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import to_json

from cleverbetter_dagster.errors import ModelNotFound, NotStored, TrackingUnavailable
from cleverbetter_dagster.redaction import redacted
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster.store.tracking.client import experiment_id, mlflow_client
from cleverbetter_dagster.store.tracking.places import read_file, write_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DAGSTER_RUN_TAGS = ("dagster.run_id", "dagster_run_id")
"""Tags with the Dagster run of a model's MLflow run, and of the one that dagster-mlflow opens. By the second,
dagster-mlflow finds the one run of a whole Dagster run, so a model's must not carry it."""

BATCH = 100
"""Most params, tags or metrics in one call. MLflow takes no more params and tags."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSpec:
    """What is known of a model before it is trained.

    Attributes:
        family: model family, also the run's name.
        as_of: month of the model, such as `2023-12`.
        data_hash: hash of the rows it is trained on.
        params: hyperparameters; nested values are written as JSON.
        tags: further tags.
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
        """The first tags of the run, MLflow's own included."""
        commit = code_version()
        known = {
            "family": self.family,
            "as_of": self.as_of,
            "data_hash": self.data_hash,
            "git_commit": commit,
            DAGSTER_RUN_TAGS[0]: self.dagster_run_id,
            "mlflow.parentRunId": self.parent_run_id,
            "mlflow.source.git.commit": commit,
        }
        return {**self.tags, **{key: value for key, value in known.items() if value}}


@dataclass(frozen=True)
class ModelRun:
    """An open MLflow run of one model, from `start_run` or `reopen_run`."""

    settings: Settings = field(repr=False)
    client: "MlflowClient"
    run_id: str
    experiment_id: str

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log hyperparameters. MLflow refuses another value for one that was logged already."""
        from mlflow.entities import Param

        texts = (value if isinstance(value, str) else json.dumps(value, default=str) for value in params.values())
        self._log("params", [Param(name, redacted(text)) for name, text in zip(params, texts, strict=True)])

    def log_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Log numbers. None, NaN and infinity mean unknown and are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        known = {name: float(value) for name, value in metrics.items() if value is not None and math.isfinite(value)}
        if unknown := sorted(metrics.keys() - known.keys()):
            log.info("No finite value to log for %s", ", ".join(unknown))
        self._log("metrics", [Metric(name, value, now, 0) for name, value in known.items()])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, replacing those of the same name."""
        from mlflow.entities import RunTag

        self._log("tags", [RunTag(name, redacted(str(value))) for name, value in tags.items()])

    def log_file(self, path: str, content: bytes) -> None:
        """Store `content` as the artefact `path`, such as `plots/roc.png`, replacing what was there."""
        if write_files(self.settings, self.client.get_run(self.run_id).info.artifact_uri, {path: content}):
            return
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / Path(path).name
            file.write_bytes(content)
            folder = Path(path).parent.as_posix()
            self.client.log_artifact(self.run_id, str(file), None if folder == "." else folder)

    def log_json(self, path: str, record: BaseModel | Mapping[str, Any]) -> None:
        """Store a record as the JSON artefact `path`. NaN and infinity, which JSON lacks, become null."""
        self.log_file(path, to_json(record, indent=2, inf_nan_mode="null"))

    def _log(self, kind: str, entities: Sequence[Any]) -> None:
        for start in range(0, len(entities), BATCH):
            batch: dict[str, Any] = {kind: entities[start : start + BATCH]}
            self.client.log_batch(self.run_id, **batch)


@contextmanager
def start_run(settings: Settings, spec: RunSpec) -> Iterator[ModelRun]:
    """A new run for one model, closed when the block ends.

    Its status is then FINISHED; FAILED after an error; KILLED if the process was told to stop (Ctrl-C, a terminated
    Dagster run). After `kill -9` it stays RUNNING until `close_left_runs`.
    """
    client = mlflow_client(settings)
    created = client.create_run(experiment_id(settings), tags=spec.all_tags(), run_name=f"{spec.family} {spec.as_of}")
    run = ModelRun(settings, client, created.info.run_id, created.info.experiment_id)
    with _closed(run):
        run.log_params(spec.params)
        yield run


@contextmanager
def reopen_run(settings: Settings, run_id: str) -> Iterator[ModelRun]:
    """The run of an existing model, to log more to it; closed as by `start_run`.

    Raises:
        ModelNotFound: MLflow has no such run.
    """
    from mlflow.exceptions import MlflowException

    client = mlflow_client(settings)
    try:
        existing = client.get_run(run_id)
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ModelNotFound(
            f"MLflow has no run {run_id!r} in this deployment. Materialise the model again, or set "
            "MLFLOW_TRACKING_URI to the server that has it."
        ) from error
    run = ModelRun(settings, client, run_id, existing.info.experiment_id)
    with _closed(run):
        yield run


def close_left_runs(settings: Settings, has_ended: Callable[[str], bool]) -> list[str]:
    """Close the MLflow runs that a killed process left RUNNING.

    Args:
        settings: where MLflow is.
        has_ended: whether the Dagster run of this id has ended; False for one that is not known here.

    Returns:
        Ids of the MLflow runs that were closed. Their status is KILLED now.
    """
    client = mlflow_client(settings)
    open_runs: list[Run] = []
    page = None
    while page != "":
        found = client.search_runs([experiment_id(settings)], "attributes.status = 'RUNNING'", page_token=page)
        open_runs += found
        page = found.token or ""
    closed = []
    for run in open_runs:  # only now: a page begins at a number of runs, and each that is closed shifts it
        dagster_run_id = next((run.data.tags[tag] for tag in DAGSTER_RUN_TAGS if tag in run.data.tags), None)
        if dagster_run_id and has_ended(dagster_run_id):
            client.set_terminated(run.info.run_id, "KILLED")
            closed.append(run.info.run_id)
    return closed


def read_run_json(settings: Settings, run_id: str, path: str) -> dict[str, Any]:
    """The record that `ModelRun.log_json` stored as the artefact `path` of a run.

    Raises:
        ModelNotFound: MLflow has no such run, or the run has no such artefact.
    """
    from mlflow.exceptions import MlflowException

    try:
        client = mlflow_client(settings)
        content = read_file(settings, client.get_run(run_id).info.artifact_uri, path)
        if content is None:
            with tempfile.TemporaryDirectory() as scratch:
                content = Path(client.download_artifacts(run_id, path, scratch)).read_bytes()
        record: dict[str, Any] = json.loads(content)
    except (MlflowException, NotStored, OSError, ValueError) as error:
        raise ModelNotFound(
            f"The MLflow run {run_id} has no readable {path}: {error}. Train the model again."
        ) from error
    return record


@cache
def code_version() -> str:
    """The commit of this package, with `-dirty` if files differ from it; without git, the package's version."""
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
    except TrackingUnavailable:
        raise  # MLflow cannot be told
    except BaseException as error:
        run.client.set_terminated(run.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.client.set_terminated(run.run_id, "FINISHED")
