"""Opens a file of rows by the kind that its name tells."""

from collections.abc import Callable
from pathlib import Path

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers.columnar import ArrowFile, ParquetFiles
from cleverbetter_dagster.store.imports.readers.delimited import Delimited
from cleverbetter_dagster.store.imports.readers.json_array import JsonArray
from cleverbetter_dagster.store.imports.readers.json_rows import JsonLines
from cleverbetter_dagster.store.imports.readers.row_file import RowFile, readable
from cleverbetter_dagster.store.imports.readers.source import COMPRESSIONS, PIECE_BYTES, text_source, uncompressed_name

KINDS: dict[str, tuple[str, ...]] = {
    "Parquet": (".parquet", ".pq"),
    "Arrow or Feather": (".feather", ".arrow", ".arrows", ".ipc"),
    "CSV": (".csv", ".tsv", ".txt"),
    "JSON": (".json", ".jsonl", ".ndjson"),
}
"""Kinds of files, and how their names end; a compressed one ends in one of `COMPRESSIONS` too."""


def open_rows(path: Path) -> RowFile:
    """A file of one of `KINDS`, or a folder of Parquet files.

    Raises:
        ImportFileError: it is missing, no regular file, of another kind, unreadable, or empty.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device may never end
        raise ImportFileError(f"{path} is no regular file. Write the rows to a file first, and name that.")
    kind = "Parquet" if path.is_dir() else _kind(path)
    with readable(path):
        return _OPEN[kind](path)


def is_json_array(path: Path) -> bool:
    """True if a file is one JSON array, whatever its name says of it."""
    return path.is_file() and uncompressed_name(path).endswith(KINDS["JSON"]) and _begins_as_array(path)


def _open_json(path: Path) -> RowFile:
    return JsonArray(path) if _begins_as_array(path) else JsonLines(path)


def _begins_as_array(path: Path) -> bool:
    with text_source(path) as source:
        start = b""
        while not start and (piece := source.read(PIECE_BYTES)):
            start = piece.lstrip()
    return start.startswith(b"[")


_OPEN: dict[str, Callable[[Path], RowFile]] = {
    "Parquet": ParquetFiles,
    "Arrow or Feather": ArrowFile,
    "CSV": Delimited,
    "JSON": _open_json,
}


def _kind(path: Path) -> str:
    name = uncompressed_name(path)
    kind = next((kind for kind, endings in KINDS.items() if name.endswith(endings)), None)
    if kind is None:
        endings = ", ".join(ending for endings in KINDS.values() for ending in endings)
        raise ImportFileError(
            f"{path} is of no known kind; its name must end in {endings}, each also in {', '.join(COMPRESSIONS)}."
        )
    return kind
