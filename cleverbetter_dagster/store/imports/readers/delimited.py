"""CSV, also with semicolons, tabs or bars and with decimal commas. All values are texts.

A block of lines is parsed by pyarrow. If that does not give one row a line, the block is parsed again row by row, so
that one bad line, or a quote that is never closed, costs no other.
"""

import csv as csv_text
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.imports.readers.csv_dialect import sniff_dialect, with_decimal_points
from cleverbetter_dagster.store.imports.readers.lines import TOO_LONG, LineBlock, line_blocks
from cleverbetter_dagster.store.imports.readers.row_file import KEYS, FileBatch, RowFile, malformed_rows
from cleverbetter_dagster.store.imports.readers.source import text_source

NULL_TEXTS = ["", "NULL", "null", "None", "NA", "N/A", "\\N"]
"""CSV fields that mean a missing value."""

NEVER_CLOSED = "the line has a quote that is never closed: close it, or double it within a quoted field"

csv_text.field_size_limit(2 * row_file.LONGEST_LINE)


class _MalformedError(ValueError):
    """The text is no row. The message says why."""


class _OpenQuoteError(_MalformedError):
    """The text ends within quotes: the row may go on in the next line."""


@dataclass
class _Rows:
    """The rows of a block. `rest` is where a row begins that the block does not end, an index of its lines."""

    fields: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    malformed: list[tuple[int, str | None, str, str]] = field(default_factory=list)
    rest: int | None = None


class Delimited(RowFile):
    """A CSV file. The line of a row is the one where it begins, as an editor counts them."""

    def __init__(self, path: Path) -> None:
        """See `sniff_dialect` for the errors."""
        self.path = path
        self._dialect = sniff_dialect(path)
        self.names = self._dialect.names
        # Every batch has costs for each column: more rows at once if there are thousands of them.
        self._blocks_at_once = min(1 + len(self.names) // 5_000, 4)
        self._id = next((self.names.index(name) for name in KEYS if name in self.names), None)

    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        wanted = [name for name in self.names if name in columns]
        with text_source(self.path) as source:
            rest: LineBlock | None = None
            for block in self._blocks(line_blocks(source, cr_only=self._dialect.cr_only, blocks=self._blocks_at_once)):
                if rest is not None and block.too_long:
                    yield self._batch(rest, wanted, source.done, last=True)[0]
                elif rest is not None:
                    block = LineBlock(rest.text + b"\n" + block.text, rest.first)
                batch, rest = self._batch(block, wanted, source.done)
                yield batch
            if rest is not None:
                yield self._batch(rest, wanted, source.done, last=True)[0]

    def _blocks(self, blocks: Iterator[LineBlock]) -> Iterator[LineBlock]:
        """The blocks without the header."""
        header = next(blocks)
        rows = header.text.split(b"\n", self._dialect.header_lines)[self._dialect.header_lines :]
        yield LineBlock(b"".join(rows), 1 + self._dialect.header_lines)
        yield from blocks

    def _batch(
        self, block: LineBlock, wanted: list[str], done: float, *, last: bool = False
    ) -> tuple[FileBatch, LineBlock | None]:
        """The rows of a block, and the beginning of a row that goes on in the next one."""
        if block.too_long:
            bad = malformed_rows([self._malformed(block.first, block.text, TOO_LONG)])
            return FileBatch(self._table([], wanted), np.zeros(0, dtype=np.int64), done, bad), None
        together = self._parse_together(block, wanted)
        if together is not None:
            return FileBatch(*together, done), None
        lines = block.text.split(b"\n")
        rows = self._parse_each(lines, block.first, last=last or len(block.text) > row_file.LONGEST_LINE)
        rest = None if rows.rest is None else LineBlock(b"\n".join(lines[rows.rest :]), block.first + rows.rest)
        table, numbers = self._table(rows.fields, wanted), np.array(rows.lines, dtype=np.int64)
        return FileBatch(table, numbers, done, malformed_rows(rows.malformed)), rest

    def _parse_together(self, block: LineBlock, wanted: list[str]) -> tuple[pa.Table, np.ndarray] | None:
        """The rows and their lines; None if some line is not one row."""
        try:
            table = csv.read_csv(
                io.BytesIO(block.text),
                csv.ReadOptions(use_threads=False, block_size=len(block.text) + 1, column_names=list(self.names)),
                csv.ParseOptions(delimiter=self._dialect.delimiter, newlines_in_values=True),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()),
                    include_columns=wanted,
                    null_values=NULL_TEXTS,
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid:
            return None
        filled = np.array([bool(line.strip(b"\r")) for line in block.text.split(b"\n")])
        if np.count_nonzero(filled) != table.num_rows:  # some row has several lines
            return None
        return self._pointed(table), block.first + np.flatnonzero(filled)

    def _parse_each(self, lines: Sequence[bytes], first: int, *, last: bool) -> _Rows:
        """Row by row. A row that cannot be read is one malformed line, and the line after it begins a row again.

        Args:
            last: no further lines belong to these.
        """
        rows, at = _Rows(), 0
        while at < len(lines):
            if lines[at].strip():
                try:
                    fields, end = self._row_at(lines, at)
                except _OpenQuoteError:
                    if not last:
                        rows.rest = at
                        break
                    rows.malformed.append(self._malformed(first + at, lines[at], NEVER_CLOSED))
                except _MalformedError as error:
                    rows.malformed.append(self._malformed(first + at, lines[at], f"the line {error}"))
                else:
                    rows.fields.append(fields)
                    rows.lines.append(first + at)
                    at = end
                    continue
            at += 1
        return rows

    def _row_at(self, lines: Sequence[bytes], at: int) -> tuple[list[str], int]:
        """The row that begins in a line, and the line after its end."""
        end = at + 1
        try:
            return self._fields(lines[at]), end
        except _OpenQuoteError:
            pass
        while end < len(lines):
            end += 1
            if lines[end - 1].count(b'"') % 2:  # only such a line can close the quote
                try:
                    return self._fields(b"\n".join(lines[at:end])), end
                except _MalformedError:
                    raise _MalformedError(NEVER_CLOSED.removeprefix("the line ")) from None
        raise _OpenQuoteError

    def _fields(self, text: bytes) -> list[str]:
        try:
            decoded = text.decode().removesuffix("\r")
        except UnicodeDecodeError as error:
            raise _MalformedError(f"is not UTF-8: byte {error.start + 1} is 0x{text[error.start]:02x}") from None
        try:  # of one line as much as pyarrow accepts; of several lines no text behind a closing quote
            rows = list(
                csv_text.reader([decoded + "\n", "end"], delimiter=self._dialect.delimiter, strict="\n" in decoded)
            )
        except csv_text.Error as error:
            raise _MalformedError(f"is no CSV: {error}") from None
        if rows[-1] != ["end"]:
            raise _OpenQuoteError
        fields = rows[0]
        if len(fields) != len(self.names):
            raise _MalformedError(
                f"has {len(fields)} fields and the header {len(self.names)}: quote fields that contain "
                f"{self._dialect.delimiter!r}"
            )
        return fields

    def _table(self, rows: list[list[str]], wanted: list[str]) -> pa.Table:
        missing = {*NULL_TEXTS}
        positions = {name: position for position, name in enumerate(self.names)}
        columns = {}
        for name in wanted:
            values = [row[positions[name]] for row in rows]
            columns[name] = pa.array([None if value in missing else value for value in values], pa.string())
        return self._pointed(pa.table(columns))

    def _pointed(self, table: pa.Table) -> pa.Table:
        return with_decimal_points(table) if self._dialect.decimal_comma else table

    def _malformed(self, line: int, text: bytes, reason: str) -> tuple[int, str | None, str, str]:
        raw = text.decode(errors="replace")[: row_file.LONGEST_RAW]
        fields = raw.replace('"', "").split(self._dialect.delimiter)
        row_id = fields[self._id].strip() if self._id is not None and self._id < len(fields) else None
        return line, row_id or None, raw, reason
