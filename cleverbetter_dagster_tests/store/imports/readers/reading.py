"""Reads a whole file for a test."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from cleverbetter_dagster.store.imports.readers.opening import open_rows

Row = tuple[int, dict[str, Any]]
Malformed = tuple[int, str | None, str, str]


def read_all(path: Path, columns: Collection[str] | None = None) -> tuple[list[Row], list[Malformed]]:
    """The rows with their lines, and the malformed lines."""
    file = open_rows(path)
    rows: list[Row] = []
    malformed: list[Malformed] = []
    for batch in file.batches(file.names if columns is None else columns):
        assert batch.table.num_rows == len(batch.lines)
        rows += zip(batch.lines.tolist(), batch.table.to_pylist(), strict=True)
        malformed += batch.malformed.itertuples(index=False, name=None)
    return rows, malformed


def read_bytes(path: Path, content: bytes) -> tuple[list[Row], list[Malformed]]:
    """Write a file and read it."""
    path.write_bytes(content)
    return read_all(path)
