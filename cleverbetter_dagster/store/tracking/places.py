"""Where the files of runs and models are: on this machine, or where `CLEVERBETTER_STORAGE_URL` says.

MLflow records their addresses. In a bucket our own storage reads and writes them: it waits while the bucket is away,
and names what is wrong with it, as for all artefacts. MLflow's UI shows them by its own client of that cloud.
"""

from collections.abc import Mapping
from pathlib import Path

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.filesystems import RUN_PATIENCE_SECONDS

FOLDER = "mlartifacts"


def artefact_folder(settings: Settings) -> Path:
    """Where the files of runs and models are on this machine, if MLflow is a database."""
    return settings.state_folder / FOLDER


def artefact_address(settings: Settings) -> str:
    """Where they are, as MLflow records it: `file:`, or the protocol of a bucket."""
    base = settings.storage_url
    if base is None:
        return artefact_folder(settings).as_uri()
    return Path(base, FOLDER).as_uri() if base.startswith("/") else f"{base}/{FOLDER}"


def shared_storage(settings: Settings, patience_seconds: float = 0.0) -> ArtefactStore | None:
    """The storage that several machines share; None if this one keeps everything itself.

    Raises:
        DataError, ArtefactsUnavailable: as `ArtefactStore`.
    """
    return ArtefactStore(settings.storage_url, patience_seconds) if settings.storage_url else None


def write_files(settings: Settings, address: str, files: Mapping[str, bytes]) -> bool:
    """Store files, by relative path, below an address of MLflow's. False, and nothing is done, if it is in no bucket.

    Raises:
        ArtefactsUnavailable: the bucket is away for longer than a run waits, or refuses.
    """
    path = _in_bucket(settings, address)
    if path is None:
        return False
    storage = ArtefactStore(settings.storage_url or "", RUN_PATIENCE_SECONDS)
    for name, content in files.items():
        storage.write_bytes(f"{path}/{name}", content)
    return True


def read_files(settings: Settings, address: str) -> dict[str, bytes] | None:
    """Every file below an address of MLflow's, by its relative path; None if the address is in no bucket.

    Raises:
        ArtefactsUnavailable: the bucket does not answer, or refuses.
    """
    path = _in_bucket(settings, address)
    if path is None:
        return None
    storage = ArtefactStore(settings.storage_url or "")
    return {each.removeprefix(f"{path}/"): storage.read_bytes(each) for each in storage.paths(path)}


def read_file(settings: Settings, address: str, name: str) -> bytes | None:
    """One file below an address of MLflow's; None if the address is in no bucket.

    Raises:
        NotStored: there is no such file.
        ArtefactsUnavailable: as `read_files`.
    """
    path = _in_bucket(settings, address)
    return None if path is None else ArtefactStore(settings.storage_url or "").read_bytes(f"{path}/{name}")


def _in_bucket(settings: Settings, address: str) -> str | None:
    """The path of an address in the shared bucket."""
    base = settings.storage_url or "/"
    if base.startswith(("/", "file:")) or not address.startswith(f"{base}/"):
        return None
    return address.removeprefix(f"{base}/").rstrip("/")
