"""Rows of JSON: one object a line, or the elements of an array."""

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.json_objects import (
    NotAnObjectError,
    column_of,
    flat,
    has_long_integers,
    long_integer_in,
    parse_object,
    table_of,
)
from cleverbetter_dagster.store.imports.readers.lines import TOO_LONG, line_blocks
from cleverbetter_dagster.store.imports.readers.row_file import (
    KEYS,
    FileBatch,
    RowFile,
    malformed_rows,
)
from cleverbetter_dagster.store.imports.readers.source import text_source

MOST_KEYS = 100_000
"""Different keys of the rows of a file."""

MOST_CELLS = 4_000_000
"""Rows times different keys of a batch."""

SAMPLED_VALUES = 100

_ID = re.compile(rf'"(?:{"|".join(KEYS)})"\s*:\s*"?([^",}}\s]+)')

Malformed = tuple[int, str | None, str, str]


@dataclass(frozen=True)
class Texts:
    """Texts that should be one JSON object each, with their lines.

    Attributes:
        block: all of them in one piece, or more than them.
        malformed: lines that cannot be read.
    """

    texts: Sequence[bytes]
    lines: Sequence[int]
    block: bytes
    done: float
    malformed: Sequence[Malformed] = ()


class JsonRows(RowFile):
    """Rows that are JSON objects. Opening reads all of the file once, because any row may have a further key."""

    unit = "line"

    def __init__(self, path: Path) -> None:
        """Raises ImportFileError: the file is empty or damaged, has no object, or more than `MOST_KEYS` keys."""
        self.path = path
        self._sample: dict[str, list[Any]] = {}
        lacking: set[str] = set()
        malformed: Malformed | None = None
        empty = True
        for texts in self._texts():
            empty, bad = False, [*texts.malformed]
            for line, _, row in self._parsed(texts, bad):
                self._note_keys(row, lacking, line)
            malformed = malformed or next(iter(bad), None)
        if empty:
            raise ImportFileError(f"{path} is empty. Name a file with rows.")
        if malformed and not self._sample:
            raise ImportFileError(
                f"{path} has no row: {self.unit} {malformed[0]} is the first of which {malformed[3]}. Write one object "
                "{...} on a line of its own for each row, or one array of such objects."
            )
        self.names = tuple(self._sample)

    def _note_keys(self, row: Mapping[str, Any], lacking: set[str], line: int) -> None:
        """Add the row's keys, and its values of the keys `lacking` values, to the sample."""
        new = row.keys() - self._sample.keys()
        if new:
            self._sample |= {key: [] for key in row if key in new}
            lacking |= new
            _check_keys(self._sample, self.path, line)
        for key in row.keys() & lacking:
            if row[key] is not None:
                self._sample[key].append("{}" if isinstance(row[key], dict | list) else row[key])
                if len(self._sample[key]) == SAMPLED_VALUES:
                    lacking.remove(key)

    @abstractmethod
    def _texts(self) -> Iterator[Texts]: ...

    def sample(self) -> pa.Table:
        """The first hundred values of each key, wherever they are in the file."""
        padded = {key: values + [None] * (SAMPLED_VALUES - len(values)) for key, values in self._sample.items()}
        return pa.table({key: column_of(values) for key, values in padded.items()})

    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        for texts in self._texts():
            malformed = [*texts.malformed]
            rows: list[tuple[int, dict[str, Any]]] = []
            for line, text, row in self._parsed(texts, malformed):
                try:
                    rows.append((line, flat(row, columns)))
                except NotAnObjectError as error:
                    malformed.append(malformed_text(line, text, f"the {self.unit} is {error}"))
            for piece in _pieces(rows):
                yield _batch(piece, texts.done, [])
            if malformed or not rows:
                yield _batch([], texts.done, malformed)

    def _parsed(self, texts: Texts, malformed: list[Malformed]) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
        """The objects with their lines and texts; other lines are appended to `malformed`, except blank ones."""
        long_integers, unstorable = has_long_integers(texts.block), b"\0" in texts.block or b"\\u0000" in texts.block
        for line, text in zip(texts.lines, texts.texts, strict=True):
            try:
                if not unstorable and not long_integers:
                    row = orjson.loads(text)
                    if type(row) is dict:
                        yield line, text, row
                        continue
            except orjson.JSONDecodeError:
                pass
            if not text.strip():
                continue
            try:
                yield line, text, parse_object(text, exact=long_integers and long_integer_in(text))
            except NotAnObjectError as error:
                malformed.append(malformed_text(line, text, f"the {self.unit} is {error}"))


class JsonLines(JsonRows):
    """One JSON object a line."""

    def _texts(self) -> Iterator[Texts]:
        with text_source(self.path) as source:
            for block in line_blocks(source):
                if block.too_long:
                    yield Texts((), (), b"", source.done, [malformed_text(block.first, block.text, TOO_LONG)])
                    continue
                texts = block.text.split(b"\n")
                yield Texts(texts, range(block.first, block.first + len(texts)), block.text, source.done)


def malformed_text(line: int, text: bytes, reason: str) -> Malformed:
    """A malformed text for `malformed_rows`, with the id if it can be recognised."""
    raw = text.decode(errors="replace")
    row_id = _ID.search(raw[:100_000])
    return line, row_id and row_id[1], raw, reason


def _pieces(rows: list[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Rows in pieces of at most `MOST_CELLS` cells, or of one row."""
    piece: list[tuple[int, dict[str, Any]]] = []
    keys: set[str] = set()
    for line, row in rows:
        keys |= row.keys()
        if piece and len(keys) * (len(piece) + 1) > MOST_CELLS:
            yield piece
            piece, keys = [], {*row}
        piece.append((line, row))
    if piece:
        yield piece


def _batch(rows: list[tuple[int, dict[str, Any]]], done: float, malformed: Sequence[Malformed]) -> FileBatch:
    table = table_of([row for _, row in rows])
    return FileBatch(table, np.array([line for line, _ in rows], dtype=np.int64), done, malformed_rows(malformed))


def _check_keys(keys: Collection[str], path: Path, line: int) -> None:
    if len(keys) > MOST_KEYS:
        raise ImportFileError(
            f"{path} has more than {MOST_KEYS:,} different keys up to line {line:,}. Put those that vary from row to "
            "row into one object under the key 'features'."
        )
