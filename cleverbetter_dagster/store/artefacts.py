"""Tables as Parquet and records as JSON under one base: a folder or any fsspec URL. No Dagster here.

A file appears whole or not at all: on a local disk it is written beside its place and renamed into it, and
object stores publish an object only when it is complete.
"""

import json
import os
import posixpath
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel
from pydantic_core import to_json

from cleverbetter_dagster.errors import ArtefactsUnavailable, DataError, NotStored
from cleverbetter_dagster.store.filesystems import Filesystem

CHECK = "check"
"""Folder of the files by which `require_usable` tries the storage."""


class ArtefactStore:
    """Reads and writes artefacts by their path below `base`, such as `training_rows/2023-12.parquet`."""

    def __init__(self, base: str, patience_seconds: float = 0.0) -> None:
        """Open the store; nothing is written until something is stored.

        Args:
            base: a folder, or an fsspec URL (`memory://x`, `s3://bucket/prefix`) whose driver is installed.
            patience_seconds: how long a storage elsewhere that is away is waited for, at each call.

        Raises:
            DataError: no filesystem driver answers to the URL.
            ArtefactsUnavailable: the storage does not answer, here or later.
        """
        self._filesystem = Filesystem(base, patience_seconds)

    def url(self, path: str) -> str:
        """Where the artefact `path` lies: an absolute path on a local disk, else a URL with its protocol."""
        place = self._place(path)
        return str(self._filesystem.driver.unstrip_protocol(place)) if self._filesystem.is_remote else place

    def require_usable(self) -> None:
        """Write a small file, read it and remove it again.

        Raises:
            ArtefactsUnavailable: the storage does not answer, there is no such bucket, or a right is missing.
        """
        path, content = f"{CHECK}/{uuid4().hex}", b"written to see whether the storage can be used"
        self._write(path, content)
        if self._read(path) != content:
            raise ArtefactsUnavailable(f"{self.url(path)} was written, but other bytes were read. Mend the storage.")
        self.delete(path)

    def exists(self, path: str) -> bool:
        """Whether the artefact `path` was written."""
        return self._kind(path) == "file"

    def delete(self, path: str) -> None:
        """Remove the artefact `path`, if it is there."""
        with suppress(FileNotFoundError):
            self._filesystem.ask(lambda: self._filesystem.driver.rm_file(self._place(path)))

    def paths(self, folder: str) -> list[str]:
        """Every file below `folder`, at any depth, as a path below the base, sorted; none where it is missing."""
        found = self._filesystem.ask(lambda: self._filesystem.driver.find(self._place(folder)))
        return sorted(str(place).removeprefix(self._filesystem.root).lstrip("/") for place in found)

    def names(self, folder: str, suffix: str) -> list[str]:
        """What lies in `folder` below the base and ends in `suffix`, without it, sorted; none where it is missing."""
        if self._kind(folder) != "directory":
            return []
        listed = self._filesystem.ask(lambda: self._filesystem.driver.ls(self._place(folder), detail=False))
        names = [posixpath.basename(str(path).rstrip("/")) for path in listed]
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))

    def folders(self) -> list[str]:
        """The names directly below the base, sorted; none where it is missing."""
        try:
            driver, root = self._filesystem.driver, self._filesystem.root
            listed = self._filesystem.ask(lambda: driver.ls(root, detail=False))
        except FileNotFoundError:
            return []
        return sorted({posixpath.basename(str(path).rstrip("/")) for path in listed})

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

    def write_bytes(self, path: str, content: bytes) -> None:
        """Store `content` as it is, replacing what was there."""
        self._write(path, content)

    def read_bytes(self, path: str) -> bytes:
        """The content of `path`.

        Raises:
            NotStored: it is missing.
        """
        return self._read(path)

    def _kind(self, path: str) -> str | None:
        """`file` or `directory`; None: neither. fsspec's own `isfile` is False too if the storage is away."""
        try:
            return str(self._filesystem.ask(lambda: self._filesystem.driver.info(self._place(path)))["type"])
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _place(self, path: str) -> str:
        if path.startswith("/") or not {"..", "."}.isdisjoint(path.split("/")) or "\0" in path or "\\" in path:
            raise DataError(f"An artefact path is relative and stays below the base, got {path!r}.")
        return posixpath.join(self._filesystem.root, path)

    def _read(self, path: str) -> bytes:
        try:
            return bytes(self._filesystem.ask(lambda: self._filesystem.driver.cat_file(self._place(path))))
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
        place, filesystem = self._place(path), self._filesystem
        driver = filesystem.driver
        if filesystem.has_folders:
            filesystem.ask(lambda: driver.makedirs(posixpath.dirname(place), exist_ok=True))
        if filesystem.is_remote:
            try:
                filesystem.ask(lambda: driver.pipe_file(place, content))
            except FileNotFoundError as error:
                raise ArtefactsUnavailable(
                    f"{self.url(path)} cannot be written: {error}. Make the bucket, or correct its name in "
                    "CLEVERBETTER_STORAGE_URL or CLEVERBETTER_ARTEFACTS_URL."
                ) from error
            return
        beside = f"{place}.{uuid4().hex}.part"
        try:
            driver.pipe_file(beside, content)
            os.replace(beside, place)
        except BaseException:
            if driver.exists(beside):
                driver.rm_file(beside)
            raise
