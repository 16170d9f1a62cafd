"""Tables as Parquet and records as JSON under one base: a folder or any fsspec URL. No Dagster here.

A file appears whole or not at all: on a local disk it is written beside its place and renamed into it, and
object stores publish an object only when it is complete.
"""

import json
import os
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel
from pydantic_core import to_json

from cleverbetter_dagster.errors import ArtefactsUnavailable, DataError, NotStored

BUCKETS = frozenset({"s3", "gs", "abfs", "oss"})
"""Protocols of stores that have no folders. There, making one would create a bucket whose name is misspelt."""


class ArtefactStore:
    """Reads and writes artefacts by their path below `base`, such as `training_rows/2023-12.parquet`."""

    def __init__(self, base: str) -> None:
        """Open the store; nothing is written until something is stored.

        Args:
            base: a folder, or an fsspec URL (`memory://x`, `s3://bucket/prefix`) whose driver is installed.

        Raises:
            DataError: no filesystem driver answers to the URL.
            ArtefactsUnavailable: the storage does not answer, here or later.
        """
        self._base = base
        try:
            # Another process may write between two looks, so listings are never remembered.
            self._filesystem, root = fsspec.core.url_to_fs(base, use_listings_cache=False)
        except OSError as error:
            raise self._away(error) from error
        except (ValueError, ImportError) as error:
            raise DataError(
                f"Cannot open the artefacts base {base!r}: {error}. Name a folder, or install the fsspec driver "
                "of that protocol."
            ) from error
        self._root = str(root).rstrip("/")

    def url(self, path: str) -> str:
        """Where the artefact `path` lies: an absolute path on a local disk, else a URL with its protocol."""
        place = self._place(path)
        return str(self._filesystem.unstrip_protocol(place)) if self._is_remote else place

    def exists(self, path: str) -> bool:
        """Whether the artefact `path` was written."""
        with self._answering():
            return bool(self._filesystem.isfile(self._place(path)))

    def names(self, folder: str, suffix: str) -> list[str]:
        """What lies in `folder` below the base and ends in `suffix`, without it, sorted; none where it is missing."""
        place = self._place(folder)
        with self._answering():
            if not self._filesystem.isdir(place):
                return []
            names = [posixpath.basename(str(path).rstrip("/")) for path in self._filesystem.ls(place, detail=False)]
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))

    def write_table(self, path: str, table: pa.Table) -> None:
        """Store `table` as Parquet (zstd), replacing what was there."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._write(path, sink.getvalue().to_pybytes())

    def read_tables(
        self, paths: Sequence[str], columns: Collection[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """The tables at `paths` one below the other, in that order.

        Columns are unified by name: where one of the tables lacks a column, its rows are null in it.

        Args:
            columns: the columns to take, of those that a table has; by default all.
            where: only rows that fulfil it.

        Raises:
            DataError: no path is given, an artefact is missing or no Parquet, or a column changes its type.
        """
        if not paths:
            raise DataError("No artefact paths to read: at least one is needed to know the columns.")
        tables = [self._read_table(path, columns, where) for path in paths]
        try:
            return pa.concat_tables(tables, promote_options="default")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"The artefacts {self.url(paths[0])} to {self.url(paths[-1])} do not go together: {error}. "
                "Materialise the older of them again."
            ) from error

    def write_json(self, path: str, record: BaseModel | Mapping[str, Any]) -> None:
        """Store a record as JSON, replacing what was there. NaN and infinity, which JSON lacks, become null.

        Raises:
            DataError: the record holds an object JSON cannot.
        """
        try:
            content = to_json(record, indent=2, inf_nan_mode="null")
        except ValueError as error:
            raise DataError(f"Cannot store {self.url(path)} as JSON: {error}. Use plain numbers and texts.") from error
        self._write(path, content)

    def read_json(self, path: str) -> dict[str, Any]:
        """The record at `path`, for `Model.model_validate` where it was a Pydantic model.

        Raises:
            DataError: the artefact is missing or is no JSON object.
        """
        try:
            record = json.loads(self._read(path))
        except ValueError as error:
            raise DataError(f"The artefact {self.url(path)} is no JSON: {error}. Write it again.") from error
        if not isinstance(record, dict):
            raise DataError(f"The artefact {self.url(path)} is a {type(record).__name__}, not a JSON object.")
        return record

    def write_text(self, path: str, text: str) -> None:
        """Store a text (HTML, Markdown) in UTF-8, replacing what was there."""
        self._write(path, text.encode())

    def read_text(self, path: str) -> str:
        """The text at `path`.

        Raises:
            DataError: the artefact is missing.
        """
        return self._read(path).decode()

    @property
    def _is_remote(self) -> bool:
        return not isinstance(self._filesystem, LocalFileSystem)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Call errors of a remote storage by their name; what lies on a disk of this machine is no service."""
        try:
            yield
        except OSError as error:
            if not self._is_remote or isinstance(error, FileNotFoundError):
                raise
            raise self._away(error) from error

    def _away(self, error: OSError) -> ArtefactsUnavailable:
        return ArtefactsUnavailable(
            f"The artefacts at {self._base} cannot be reached: {error}. Check that the storage runs, and that "
            "CLEVERBETTER_ARTEFACTS_URL and its credentials are right."
        )

    def _place(self, path: str) -> str:
        if path.startswith("/") or not {"..", "."}.isdisjoint(path.split("/")) or "\0" in path or "\\" in path:
            raise DataError(f"An artefact path is relative and stays below the base, got {path!r}.")
        return posixpath.join(self._root, path)

    def _read(self, path: str) -> bytes:
        try:
            with self._answering():
                return bytes(self._filesystem.cat_file(self._place(path)))
        except FileNotFoundError as error:
            raise NotStored(
                f"There is no artefact {self.url(path)}. Materialise the asset and partition that writes it."
            ) from error

    def _read_table(self, path: str, columns: Collection[str] | None, where: pc.Expression | None) -> pa.Table:
        try:
            file = pq.ParquetFile(pa.BufferReader(self._read(path)))
            names = None if columns is None else [name for name in file.schema_arrow.names if name in columns]
            table = file.read(names)
        except pa.ArrowInvalid as error:
            raise DataError(f"The artefact {self.url(path)} is no Parquet file: {error}. Write it again.") from error
        return table if where is None else table.filter(where)

    def _write(self, path: str, content: bytes) -> None:
        place = self._place(path)
        with self._answering():
            if not BUCKETS.intersection(_protocols(self._filesystem)):
                self._filesystem.makedirs(posixpath.dirname(place), exist_ok=True)
            if self._is_remote:
                self._filesystem.pipe_file(place, content)
                return
        beside = f"{place}.{uuid4().hex}.part"
        try:
            self._filesystem.pipe_file(beside, content)
            os.replace(beside, place)
        except BaseException:
            if self._filesystem.exists(beside):
                self._filesystem.rm_file(beside)
            raise


def _protocols(filesystem: fsspec.AbstractFileSystem) -> set[str]:
    protocol = filesystem.protocol
    return {protocol} if isinstance(protocol, str) else set(protocol)
