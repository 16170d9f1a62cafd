"""The files of a packed model: only ours, from where ours are kept, and only as they were logged. Runs none of them.

A packed model is code when it is loaded. So a model is opened only if its hash was recorded when it was logged, if
its files lie where its experiment keeps its own, and, where it is asked for as a registered version, if we registered
it. MLflow is imported inside functions.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlparse
from urllib.request import url2pathname

from cleverbetter_dagster.errors import ModelNotFound, ModelTampered, RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHA256_TAG = "model_sha256"
OWNER_TAG = "cleverbetter"
OWNER = "family"
"""Registered models that carry this tag are ours; others on the same server are never touched, and never opened."""

WRITTEN_BY_MLFLOW = ("registered_model_meta",)
"""What `mlflow.pyfunc.load_model` leaves beside a model it loads by name; nothing in it is run."""

T = TypeVar("T")


def verified_files(client: "MlflowClient", model_uri: str) -> dict[str, bytes]:
    """The files of one of our models by their relative paths, which are those that were logged.

    Args:
        model_uri: `models:/m-<id>`, `models:/<family>/<version>` or `models:/<family>@champion`.

    Raises:
        ModelNotFound: there is no such model, or its files are gone.
        ModelTampered: its files are not those that were logged, or no hash was recorded for them.
        RegistryError: it is registered by somebody else, or its files are elsewhere than our models' are.
    """
    logged = _known(lambda: _logged_model(client, model_uri), model_uri)
    _known(lambda: _check_place(client, logged, model_uri), model_uri)
    contents = _known(lambda: _fetched(client, logged.artifact_location), model_uri)
    _compare(model_uri, logged.artifact_location, contents, logged.tags.get(SHA256_TAG))
    return contents


def files_of_model(client: "MlflowClient", model_id: str, folder: Path) -> dict[str, bytes]:
    """The files in `folder`, where MLflow has put the model `model_id`; they are those that were logged.

    Raises:
        RegistryError: as `verified_files`.
    """
    logged = _known(lambda: client.get_logged_model(model_id), str(folder))
    contents = files_below(folder)
    _compare(model_id, str(folder), contents, logged.tags.get(SHA256_TAG))
    return contents


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


def _known(ask: Callable[[], T], model_uri: str) -> T:
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except (MlflowException, OSError) as error:
        raise ModelNotFound(
            f"Cannot fetch the model {model_uri!r}: {error}. Check its name and version, and that the artefacts "
            "of MLflow were not moved or deleted; otherwise train it again."
        ) from error


def _compare(model_uri: str, location: str, contents: Mapping[str, bytes], recorded: str | None) -> None:
    found = contents_sha256(contents)
    if found != recorded:
        raise ModelTampered(
            f"The files of {model_uri!r} at {location} have the SHA-256 {found}, but {recorded or 'none'} was "
            "recorded when it was logged. They were changed or damaged and are not loaded; train the model again."
        )


def _logged_model(client: "MlflowClient", model_uri: str) -> Any:
    """The model as it was logged, whichever way it is asked for."""
    scheme, _, name = model_uri.partition(":/")
    if scheme != "models" or not name:
        raise ModelNotFound(
            f"{model_uri!r} names no model; use models:/<id>, /<family>/<version> or /<family>@<alias>."
        )
    if "@" not in name and "/" not in name:
        return client.get_logged_model(name)
    ask = client.get_model_version_by_alias if "@" in name else client.get_model_version
    version = ask(*name.split("@" if "@" in name else "/", 1))
    if client.get_registered_model(version.name).tags.get(OWNER_TAG) != OWNER:
        raise RegistryError(
            f"{model_uri!r} is a registered model of somebody else (it has no tag {OWNER_TAG}={OWNER}) and is not "
            "opened: loading a model runs it. Train a family of ours, which registers it."
        )
    return _logged_as(client, version, model_uri)


def _logged_as(client: "MlflowClient", version: Any, model_uri: str) -> Any:
    """The logged model a version was registered from; its hash is also the version's."""
    outputs = client.get_run(version.run_id).outputs if version.run_id else None
    logged = [client.get_logged_model(output.model_id) for output in (outputs.model_outputs if outputs else [])]
    found = next((model for model in logged if model.artifact_location == version.source), None)
    if found is None:
        raise RegistryError(
            f"{model_uri!r} was registered from {version.source!r}, which no run of ours logged, and is not opened: "
            "loading a model runs it. Only versions that an evaluation registered are."
        )
    recorded, logged_hash = version.tags.get(SHA256_TAG), found.tags.get(SHA256_TAG)
    if recorded != logged_hash:
        raise ModelTampered(
            f"{model_uri!r} has recorded the SHA-256 {recorded or 'none'}, and the model it was registered from "
            f"{logged_hash or 'none'}. One of them was changed; train the model again."
        )
    return found


def _check_place(client: "MlflowClient", logged: Any, model_uri: str) -> None:
    root = client.get_experiment(logged.experiment_id).artifact_location.rstrip("/") + "/"
    place = logged.artifact_location
    if not place.startswith(root) or ".." in place.split("/"):
        raise RegistryError(
            f"The files of {model_uri!r} are at {place}, which is outside of its experiment's {root}; they are not "
            "opened. Train the model again."
        )


def _fetched(client: "MlflowClient", location: str) -> dict[str, bytes]:
    from mlflow.artifacts import download_artifacts

    if location.startswith("file:"):
        return files_below(Path(url2pathname(urlparse(location).path)))
    with tempfile.TemporaryDirectory() as scratch:
        return files_below(Path(download_artifacts(location, dst_path=scratch, tracking_uri=client.tracking_uri)))
