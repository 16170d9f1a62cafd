"""What runs print, kept in the storage that several machines share."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from dagster._core.storage.cloud_storage_compute_log_manager import (
    PollingComputeLogSubscriptionManager,
    TruncatingCloudStorageComputeLogManager,
)
from dagster._core.storage.compute_log_manager import CapturedLogSubscription, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager

from cleverbetter_dagster.errors import ArtefactsUnavailable
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.filesystems import RUN_PATIENCE_SECONDS

FOLDER = "compute_logs"
PARTIAL = ".partial"
UPLOAD_SECONDS = 30
"""So often a step that runs stores what it has printed so far."""

logger = logging.getLogger(__name__)


class SharedComputeLogManager(TruncatingCloudStorageComputeLogManager[Any]):
    """Dagster's logs of steps in the shared storage; while a step runs, on the disk of its machine too."""

    def __init__(self, storage_url: str, local: LocalComputeLogManager) -> None:
        super().__init__()
        self._storage, self._local = ArtefactStore(storage_url), local
        self._awaited = ArtefactStore(storage_url, RUN_PATIENCE_SECONDS)
        self._subscriptions = PollingComputeLogSubscriptionManager(self)

    @property
    def local_manager(self) -> LocalComputeLogManager:
        return self._local

    @property
    def upload_interval(self) -> int:
        return UPLOAD_SECONDS

    def on_progress(self, log_key: Sequence[str]) -> None:
        try:
            super().on_progress(log_key)
        except ArtefactsUnavailable as error:  # the next time, or at the end of the step
            logger.warning("What %s printed so far is not stored yet: %s", "/".join(log_key), error)

    def delete_logs(self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None) -> None:
        self._local.delete_logs(log_key=log_key, prefix=prefix)
        if prefix:
            paths = self._storage.paths("/".join((FOLDER, *prefix)))
        else:
            kinds = [(kind, partial) for kind in IO_TYPE_EXTENSION for partial in (False, True)]
            paths = [_path(log_key or (), kind, partial) for kind, partial in kinds]
        for path in paths:
            self._storage.delete(path)

    def get_log_keys_for_log_key_prefix(
        self, log_key_prefix: Sequence[str], io_type: ComputeIOType
    ) -> Sequence[list[str]]:
        names = self._storage.names("/".join((FOLDER, *log_key_prefix)), f".{IO_TYPE_EXTENSION[io_type]}")
        return [[*log_key_prefix, name] for name in names]

    def download_url_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str | None:
        """Where the web server, which reads the storage, gives it to a browser."""
        if not self.is_capture_complete(log_key):
            return None
        return "/".join(("/logs", *log_key, IO_TYPE_EXTENSION[io_type]))

    def display_path_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str:
        return self._storage.url(_path(log_key, io_type))

    def cloud_storage_has_logs(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> bool:
        return self._storage.exists(_path(log_key, io_type, partial))

    def _upload_file_obj(
        self, data: IO[bytes], log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> None:
        content = data.read()
        if content or not partial:
            storage = self._storage if partial else self._awaited
            storage.write_bytes(_path(log_key, io_type, partial), content)

    def download_from_cloud_storage(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> None:
        file = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type], partial=partial))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self._storage.read_bytes(_path(log_key, io_type, partial)))

    def on_subscribe(self, subscription: CapturedLogSubscription) -> None:
        self._subscriptions.add_subscription(subscription)

    def on_unsubscribe(self, subscription: CapturedLogSubscription) -> None:
        self._subscriptions.remove_subscription(subscription)

    def dispose(self) -> None:
        self._subscriptions.dispose()
        super().dispose()


def _path(log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> str:
    return "/".join((FOLDER, *log_key)) + f".{IO_TYPE_EXTENSION[io_type]}" + (PARTIAL if partial else "")
