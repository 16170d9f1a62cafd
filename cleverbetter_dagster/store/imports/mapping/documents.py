"""Exports that are one document, not a line for each backtest: a JSON object, a zip with one, statistics as lines.

A document is read as a whole, so it may have `LARGEST` bytes at most.
"""

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import pyarrow as pa

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.mapping.spec import FileShape
from cleverbetter_dagster.store.imports.readers.csv_dialect import DELIMITERS
from cleverbetter_dagster.store.imports.readers.delimited import NULL_TEXTS
from cleverbetter_dagster.store.imports.readers.opening import KINDS, open_rows
from cleverbetter_dagster.store.imports.readers.row_file import FileBatch, RowFile
from cleverbetter_dagster.store.imports.readers.source import text_source, uncompressed_name

LARGEST = 64 << 20
_SNIFFED = 64 << 10

Record = dict[str, str | None]


class Document(RowFile):
    """A document's backtests, as texts. The line of a row is its number in the document."""

    def __init__(self, path: Path, records: Sequence[Record]) -> None:
        self.path = path
        self.names = tuple(dict.fromkeys(name for record in records for name in record))
        self._records = records

    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        wanted = [name for name in self.names if name in columns]
        table = pa.table({name: pa.array([r.get(name) for r in self._records], pa.string()) for name in wanted})
        yield FileBatch(table, np.arange(1, len(self._records) + 1), 1.0)


def open_export(path: Path, shape: FileShape, known: Collection[str]) -> RowFile:
    """An export of another tool as rows: a document, or a file of a kind that `open_rows` reads.

    Args:
        known: columns that the mapping names; they tell whether statistics are columns or lines.

    Raises:
        ImportFileError: the file cannot be read, or a document is larger than `LARGEST` or of another form.
    """
    if path.is_file():
        name = uncompressed_name(path)
        if name.endswith(".zip"):
            return Document(path, _json_records(path, _zipped(path, shape), shape, known))
        if name.endswith(".json") and _starts_as_object(path):
            content = _parsed(_text(path))
            if content is not None:
                return Document(path, _json_records(path, content, shape, known))
        if name.endswith(KINDS["CSV"]) and (delimiter := _statistics_are_lines(path, shape, known)):
            return Document(path, _columns_of(_text(path), delimiter))
    return open_rows(path)


def _starts_as_object(path: Path) -> bool:
    with text_source(path) as source:
        return source.read(_SNIFFED).lstrip().startswith(b"{")


def _text(path: Path) -> str:
    with text_source(path) as source:
        content = b""
        while chunk := source.read(1 << 20):
            content += chunk
            if len(content) > LARGEST:
                raise ImportFileError(_too_large(path))
    return content.decode(errors="replace")


def _zipped(path: Path, shape: FileShape) -> Any:
    """The JSON document of a zip that has the objects."""
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".json"):
                    if member.file_size > LARGEST:
                        raise ImportFileError(_too_large(path))
                    content = _parsed(archive.read(member).decode(errors="replace"))
                    if isinstance(content, dict) and (not shape.objects or shape.objects in content):
                        return content
    except (BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise ImportFileError(f"{path} cannot be read as a zip: {error}. Check that it is complete.") from None
    wanted = f" with the key {shape.objects!r}" if shape.objects else ""
    raise ImportFileError(f"{path} has no JSON object{wanted}. Unpack it, and name the file with the backtests.")


def _parsed(text: str) -> Any:
    """The JSON value; None if the text is none, such as JSON Lines, or is nested too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json_records(path: Path, content: Any, shape: FileShape, known: Collection[str]) -> list[Record]:
    objects = content.get(shape.objects) if shape.objects else content
    if not isinstance(objects, dict) or not objects:
        raise ImportFileError(f"{path} has no object {shape.objects!r}. It has: {', '.join(content)[:500]}.")
    if not all(isinstance(value, dict) for value in objects.values()):
        if shape.objects:
            raise ImportFileError(f"{shape.objects!r} in {path} does not have one object for each backtest.")
        return [_record(objects)]
    if not shape.objects and _lines_are_statistics(shape, known, [*objects], [*next(iter(objects.values()))]):
        keys = dict.fromkeys(key for statistic in objects.values() for key in statistic)
        objects = {key: {name: values.get(key) for name, values in objects.items()} for key in keys}
    return [{"": key, **_record(values)} for key, values in objects.items()]


def _record(values: Mapping[str, Any]) -> Record:
    """Its single values as texts; lists and objects are left out."""
    single = {name: value for name, value in values.items() if not isinstance(value, list | dict)}
    return {name: value if isinstance(value, str | None) else json.dumps(value) for name, value in single.items()}


def _statistics_are_lines(path: Path, shape: FileShape, known: Collection[str]) -> str:
    """The delimiter of a CSV file whose lines are statistics; empty if they are backtests."""
    with text_source(path) as source:
        lines = source.read(_SNIFFED).decode(errors="replace").splitlines()
    for delimiter in DELIMITERS:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        if len(rows[:1]) and _lines_are_statistics(shape, known, [row[0] for row in rows], rows[0]):
            return delimiter
    return ""


def _lines_are_statistics(
    shape: FileShape, known: Collection[str], first_cells: Sequence[str], header: Sequence[str]
) -> bool:
    if shape.orientation != "auto":
        return shape.orientation == "columns"
    return len({*first_cells} & {*known}) > max(1, len({*header} & {*known}))


def _columns_of(text: str, delimiter: str) -> list[Record]:
    """One record for each column but the first, which names the statistics; headings above them are a record's index.

    >>> _columns_of(",fast,slow\\nStart,2023-01-01,\\n", ",")
    [{'': 'fast', 'Start': '2023-01-01'}, {'': 'slow', 'Start': None}]
    """
    rows = [row for row in csv.reader(text.splitlines(keepends=True), delimiter=delimiter) if row]
    count = max(map(len, rows))
    cells = [[cell if cell not in NULL_TEXTS else None for cell in row] + [None] * (count - len(row)) for row in rows]
    return [{row[0] or "": row[position] for row in cells} for position in range(1, count)]


def _too_large(path: Path) -> str:
    return f"{path} has a document of more than {LARGEST >> 20} MiB. Leave out the trades, or save a line a backtest."
