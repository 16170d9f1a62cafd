"""Filesystems that fsspec opens: how long each is waited for, and what the errors of its driver mean."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cleverbetter_dagster.errors import ArtefactsUnavailable, DataError

T = TypeVar("T")

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
"""The extra of this package that brings the driver of a protocol."""

BUCKETS = frozenset({*EXTRAS, "oss"})
"""Protocols of stores that have no folders. There, making one would create a bucket whose name is misspelt."""

RUN_PATIENCE_SECONDS = 120.0
"""So long a run waits for a storage that is away. Its step would otherwise begin again, and with it the training."""

WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Between two tries; the last one is repeated."""

DRIVERS = frozenset({"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google"})
"""Packages whose errors, which are not all `OSError`, say that a storage is away or refuses."""

S3_TRIES = 2
S3_BOUNDS = {"connect_timeout": 5, "read_timeout": 30, "retries": {"mode": "standard", "total_max_attempts": S3_TRIES}}
"""botocore's defaults, in s3fs's own tries, wait two minutes for a server that is silent."""


class Filesystem:
    """The filesystem of an fsspec URL, whose calls raise `ArtefactsUnavailable` if a storage elsewhere is away.

    Attributes:
        driver: fsspec's filesystem.
        root: the path of the URL in it.
    """

    def __init__(self, base: str, patience_seconds: float = 0.0) -> None:
        """Open it; most drivers connect with the first call.

        Args:
            base: a folder, or an fsspec URL (`memory://x`, `s3://bucket/prefix`) whose driver is installed.
            patience_seconds: how long a call is repeated while the storage is away.

        Raises:
            DataError: no driver answers to the URL.
            ArtefactsUnavailable: the storage does not answer.
        """
        self._base, self._patience_seconds = base, patience_seconds
        protocol = base.partition("://")[0] if "://" in base else ""
        bounds: dict[str, Any] = {"config_kwargs": S3_BOUNDS} if EXTRAS.get(protocol) == "s3" else {}
        try:
            # Another process may write between two looks, so listings are never remembered.
            self.driver, root = fsspec.core.url_to_fs(base, use_listings_cache=False, **bounds)
        except (ValueError, ImportError) as error:
            extra = EXTRAS.get(protocol)
            install = f": pip install 'cleverbetter-dagster[{extra}]'" if extra else ""
            raise DataError(
                f"Cannot open {base!r}: {error}. Name a folder, or install the fsspec driver of that protocol{install}."
            ) from error
        except Exception as error:
            if not _is_of_storage(error):
                raise
            raise self._away(error) from error
        if bounds:
            self.driver.retries = S3_TRIES
        self.root = str(root).rstrip("/")

    @property
    def is_remote(self) -> bool:
        """Whether it is another machine's; a folder of this one may be shared too."""
        return not isinstance(self.driver, LocalFileSystem)

    @property
    def has_folders(self) -> bool:
        """Whether a folder has to be made before a file is written in it."""
        protocol = self.driver.protocol
        return BUCKETS.isdisjoint({protocol} if isinstance(protocol, str) else protocol)

    def ask(self, call: Callable[[], T]) -> T:
        """What a call of the driver gives.

        Raises:
            FileNotFoundError: there is no such file.
            ArtefactsUnavailable: the storage is away still when the patience is at its end, or refuses.
        """
        end, waits = monotonic() + self._patience_seconds, iter(WAITS_SECONDS)
        while True:
            try:
                return call()
            except FileNotFoundError:
                raise
            except Exception as error:
                if not self.is_remote or not _is_of_storage(error):
                    raise  # what lies on a disk of this machine is no service
                wait = next(waits, WAITS_SECONDS[-1])
                if _refuses(error) or monotonic() + wait > end:
                    raise self._away(error) from error
                sleep(wait)

    def _away(self, error: Exception) -> ArtefactsUnavailable:
        reason = str(error) or type(error).__name__
        return ArtefactsUnavailable(
            f"The storage {self._base} cannot be reached: {reason}. Check that it runs, and that "
            "CLEVERBETTER_STORAGE_URL or CLEVERBETTER_ARTEFACTS_URL and the credentials are right."
        )


def _is_of_storage(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in DRIVERS


def _refuses(error: Exception) -> bool:
    """Whether waiting does not help: it answers, and lets nobody in."""
    return isinstance(error, PermissionError) or "Credential" in type(error).__name__
