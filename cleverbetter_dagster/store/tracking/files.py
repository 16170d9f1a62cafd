"""The files of packed models: only ours, only in their place, and only unchanged.

A changed model could say anything, and `MLmodel` beside it names code to MLflow. So a model is opened only if its
files have the hash that `model_hashes` recorded when it was logged, if they are in the folder of its experiment, and,
if it is a registered version, if we registered it. MLflow's tags may be written by others, so they are not asked.
MLflow is imported inside functions.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cleverbetter_dagster.errors import ModelNotFound, ModelTampered, RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.availability import noticing_absence
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.model_hashes import recorded_hash
from cleverbetter_dagster.store.tracking.moved_home import path_of
from cleverbetter_dagster.store.tracking.places import read_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHA256_TAG = "model_sha256"
"""Shows people the hash of a model. It is compared with nothing."""

OWNER_TAG = "cleverbetter"
OWNER = "family"
"""Registered models with this tag are ours. Others on the same server are never changed and never opened."""

WRITTEN_BY_MLFLOW = ("registered_model_meta",)
"""What `mlflow.pyfunc.load_model` writes beside a model that it loads by name. Nothing in it is run."""

T = TypeVar("T")


def verified_files(settings: Settings, model_uri: str) -> dict[str, bytes]:
    """The files of one of our models by relative path, unchanged since they were logged.

    Args:
        model_uri: `models:/m-<id>`, `models:/<family>/<version>` or `models:/<family>@champion`.

    Raises:
        ModelNotFound: there is no such model, or its files are gone.
        ModelTampered: its files were changed, or no hash was recorded for them.
        RegistryError: somebody else registered it, or its files are in another place than those of our models.
    """
    client = mlflow_client(settings)
    logged = _existing(lambda: _logged_model(client, model_uri), model_uri)
    _existing(lambda: _check_place(client, logged, model_uri), model_uri)
    contents = _existing(lambda: _fetched(settings, client, logged.artifact_location), model_uri)
    compare(f"{model_uri!r} at {logged.artifact_location}", contents, recorded_hash(settings, logged.model_id))
    return contents


def compare(name: str, contents: Mapping[str, bytes], recorded: str | None) -> None:
    """Refuse files that have another hash than the recorded one.

    Raises:
        ModelTampered: they have, or none was recorded.
    """
    sha256 = contents_sha256(contents)
    if sha256 != recorded:
        raise ModelTampered(
            f"The files of {name} have the SHA-256 {sha256}, but {recorded or 'none'} was recorded when the model was "
            "logged. They were changed or damaged, or logged elsewhere, and are not loaded; train the model again."
        )


def contents_sha256(contents: Mapping[str, bytes]) -> str:
    """SHA-256 over files, given as content by relative path, whatever their order.

    >>> contents_sha256({"a": b"1", "b": b"2"}) == contents_sha256({"b": b"2", "a": b"1"})
    True
    """
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name}\0{hashlib.sha256(contents[name]).hexdigest()}\n".encode())
    return digest.hexdigest()


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its relative path.

    Raises:
        FileNotFoundError: there are none.
    """
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in WRITTEN_BY_MLFLOW]
    if not files:
        raise FileNotFoundError(f"there are no files in {folder}")
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def _existing(fetch: Callable[[], T], model_uri: str) -> T:
    from mlflow.exceptions import MlflowException

    try:
        return fetch()
    except (MlflowException, OSError) as error:
        raise ModelNotFound(
            f"Cannot fetch the model {model_uri!r}: {error}. Check its name and version, and that the artefacts "
            "of MLflow were not moved or deleted; otherwise train it again."
        ) from error


def _logged_model(client: "MlflowClient", model_uri: str) -> Any:
    """The logged model of an address of any form."""
    scheme, _, name = model_uri.partition(":/")
    if scheme != "models" or not name:
        raise ModelNotFound(
            f"{model_uri!r} is no address of a model; use models:/<id>, /<family>/<version> or /<family>@<alias>."
        )
    if "@" not in name and "/" not in name:
        return client.get_logged_model(name)
    get_version = client.get_model_version_by_alias if "@" in name else client.get_model_version
    version = get_version(*name.split("@" if "@" in name else "/", 1))
    if client.get_registered_model(version.name).tags.get(OWNER_TAG) != OWNER:
        raise RegistryError(
            f"{model_uri!r} is a registered model of somebody else (it has no tag {OWNER_TAG}={OWNER}) and is not "
            "opened. Train a family of this package instead."
        )
    return _logged_as(client, version, model_uri)


def _logged_as(client: "MlflowClient", version: Any, model_uri: str) -> Any:
    """The logged model that a version was registered from."""
    outputs = client.get_run(version.run_id).outputs if version.run_id else None
    logged = [client.get_logged_model(output.model_id) for output in (outputs.model_outputs if outputs else [])]
    source = next((model for model in logged if model.artifact_location == version.source), None)
    if source is None:
        raise RegistryError(
            f"{model_uri!r} was registered from {version.source!r}, which no run of ours logged, and is not opened. "
            "Only versions that this package registered are opened."
        )
    return source


def _check_place(client: "MlflowClient", logged: Any, model_uri: str) -> None:
    root = client.get_experiment(logged.experiment_id).artifact_location.rstrip("/") + "/"
    place = logged.artifact_location
    if not place.startswith(root) or ".." in place.split("/"):
        raise RegistryError(
            f"The files of {model_uri!r} are at {place}, which is outside of its experiment's {root}; they are not "
            "opened. Train the model again."
        )


def _fetched(settings: Settings, client: "MlflowClient", location: str) -> dict[str, bytes]:
    from mlflow.artifacts import download_artifacts

    if (files := read_files(settings, location)) is not None:
        return files
    if location.startswith("file:"):
        return files_below(path_of(location))
    with tempfile.TemporaryDirectory() as scratch, noticing_absence(client.tracking_uri):
        return files_below(Path(download_artifacts(location, dst_path=scratch, tracking_uri=client.tracking_uri)))
