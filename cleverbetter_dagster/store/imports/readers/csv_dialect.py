"""Finds out how a CSV file is written: its columns, what separates them, its line breaks and its decimal sign."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.schema import ALIASES, OPTIONAL, REQUIRED, TEXTS
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.imports.readers.source import text_source
from cleverbetter_dagster.store.source.layout import FEATURE_KEYS, FEATURE_TIMES

DELIMITERS = (",", ";", "\t", "|")

SNIFFED_LINES = 1_000
"""Lines in which a decimal comma is looked for."""

_KNOWN = {*REQUIRED, *OPTIONAL, *FEATURE_KEYS, *FEATURE_TIMES, *(name for names in ALIASES.values() for name in names)}
_SEP_LINE = re.compile(r'^"?sep=(.)"?\r?\n')
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(\.\d{3})*,\d+")
_EUROPEAN_NUMBER = r"^\s*[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+)(,\d+)?([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        names: its columns; one without a name is called by its position, such as `column 3`.
        header_lines: lines before the first row.
        cr_only: lines end with a carriage return alone.
        decimal_comma: 1,5 is one and a half; never if commas separate columns.
    """

    names: tuple[str, ...]
    delimiter: str
    header_lines: int
    cr_only: bool
    decimal_comma: bool


def sniff_dialect(path: Path) -> Dialect:
    """The dialect of a CSV file, by its first lines.

    Raises:
        ImportFileError: the file is empty, or its header is no UTF-8, too long, or names two columns alike.
    """
    with text_source(path) as source:
        start = source.read(row_file.BLOCK_BYTES)
    if not start.strip():
        raise ImportFileError(f"{path} is empty. Name a file with rows.")
    cr_only = b"\r" in start and b"\n" not in start
    lines = _decoded(path, start.replace(b"\r", b"\n") if cr_only else start)
    separator = _SEP_LINE.match(lines[0])  # Excel's own first line
    header = lines[1:] if separator else lines
    delimiter = separator[1] if separator else max(DELIMITERS, key=lambda each: _fit(header, each))
    reader = csv.reader(header, delimiter=delimiter)
    names = [name.strip() or f"column {number}" for number, name in enumerate(next(reader, []), 1)]
    row_file.check_distinct(path, names)
    header_lines = reader.line_num + (1 if separator else 0)
    comma = delimiter != "," and _has_decimal_comma(lines[header_lines:][:SNIFFED_LINES], delimiter)
    return Dialect(tuple(names), delimiter, header_lines, cr_only, comma)


def with_decimal_points(table: pa.Table) -> pa.Table:
    """The texts of a file with decimal commas, numbers with a point and without dots between thousands.

    Ids and names stay as they are.

    >>> with_decimal_points(pa.table({"id": ["1,5"], "roi": ["-1.234,5"]})).to_pylist()
    [{'id': '1,5', 'roi': '-1234.5'}]
    """
    columns = {
        name: column if name in (*TEXTS, *FEATURE_KEYS) else _with_decimal_points(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)


def _with_decimal_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers = pc.match_substring_regex(column, _EUROPEAN_NUMBER)
    pointed = pc.replace_substring(pc.replace_substring(column, ".", ""), ",", ".")
    return pc.if_else(numbers, pointed, column)


def _decoded(path: Path, start: bytes) -> list[str]:
    """The lines, with their ends. Only the first has to be UTF-8: the others are judged one by one."""
    first, newline, _ = start.partition(b"\n")
    if not newline and len(start) >= row_file.BLOCK_BYTES:
        raise ImportFileError(
            f"The first line of {path} is no header: it is longer than {row_file.BLOCK_BYTES:,} bytes."
        )
    try:
        first.decode()
    except UnicodeDecodeError as error:
        raise ImportFileError(
            f"The header of {path} is not UTF-8 (byte {error.start + 1}). Save the file as UTF-8 (Excel: CSV UTF-8)."
        ) from None
    return [line + "\n" for line in start.decode(errors="replace").split("\n")]


def _fit(header: list[str], delimiter: str) -> tuple[int, int]:
    """How many columns the file has with this delimiter: known ones, and all."""
    names = {name.strip() for name in next(csv.reader(header, delimiter=delimiter), [])}
    return len(names & _KNOWN), len(names)


def _has_decimal_comma(lines: list[str], delimiter: str) -> bool:
    try:
        return any(
            _DECIMAL_COMMA.fullmatch(field.strip()) for row in csv.reader(lines, delimiter=delimiter) for field in row
        )
    except csv.Error:
        return False
