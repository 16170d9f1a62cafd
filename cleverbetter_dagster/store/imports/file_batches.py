"""Reads Parquet, CSV and JSON Lines files in batches of bounded size, with the line of each row.

Lines count from 1. In CSV a line is a record, and the header is the first: blank lines, and line breaks within quotes,
do not count. In Parquet a line is a row.
"""

import csv as csv_text
import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from pyarrow import parquet as pq

from cleverbetter_dagster.dataset.schema import ID, TEXTS
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.json_columns import NOT_AN_OBJECT, parse_objects
from cleverbetter_dagster.store.source.layout import FEATURE_KEYS

BLOCK_BYTES = 2 << 20
"""Text that is parsed at once; pyarrow reads about sixteen blocks ahead. No CSV line may be longer."""

PARQUET_ROWS = 32_768
NESTED_PARQUET_ROWS = 1_024
"""Rows of a batch if a column may hold hundreds of kilobytes in each row."""

NULL_TEXTS = ["", "NULL", "null", "None", "NA", "N/A", "\\N"]
"""CSV fields that mean a missing value."""

LONGEST_LINE = 256 << 20
"""Bytes of a line after which a file counts as no JSON Lines file."""

SNIFFED_LINES = 100
"""Lines read to find the keys of a JSON Lines file."""

MALFORMED_COLUMNS = ("line", "row_id", "raw", "reason")

LONGEST_RAW = 10_000
"""Characters of a malformed line that are stored."""


@dataclass(frozen=True)
class FileBatch:
    """Some rows of a file.

    Attributes:
        table: the rows as the file has them: CSV as texts, the others in their own types.
        lines: the line of each row, int64.
        done: the fraction of the file that has been read.
        malformed: lines that are no row: a frame of `MALFORMED_COLUMNS`, with the id if it can be recognised.
    """

    table: pa.Table
    lines: np.ndarray
    done: float
    malformed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MALFORMED_COLUMNS)))


def read_batches(path: Path) -> Iterator[FileBatch]:
    """The rows of a `.parquet`, `.csv`, `.jsonl` or `.ndjson` file; the last three may end in `.gz`.

    Raises:
        ImportFileError: the file is missing, no regular file, of another kind, unreadable, or empty.
    """
    reader = _reader(path)
    if path.exists() and not path.is_file():  # a pipe or a device may never end
        raise ImportFileError(f"{path} is no regular file. Write the rows to a file first, and name that.")
    try:
        batches = reader(path)
        first = next(batches, None)
        if first is None:
            raise ImportFileError(f"{path} is empty. Name a file with rows.")
        yield from chain([first], batches)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ImportFileError(f"{path} cannot be read as {_kind(path)}: {error}. {_ADVICE}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ImportFileError(f"{path} cannot be read: {error}. Check that it is there and complete.") from None


_ID_IN_JSON = rf'"(?:{"|".join((ID, *FEATURE_KEYS))})"\s*:\s*"?([^",}}\s]+)'
_ADVICE = "Check that its ending names its kind, that it is complete, and that its text is UTF-8."


def _reader(path: Path) -> Callable[[Path], Iterator[FileBatch]]:
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines}
    reader = readers.get(_kind(path))
    if reader is None:
        raise ImportFileError(
            f"{path} is of no known kind; its name must end in {', '.join(readers)}, all but Parquet also in .gz."
        )
    return reader


def _kind(path: Path) -> str:
    """The ending that names the kind; `.pq` is Parquet, and a compressed Parquet file is of no kind."""
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    return ".parquet" if name.endswith((".pq", ".parquet")) else kind if kind != ".parquet" else ""


def _parquet(path: Path) -> Iterator[FileBatch]:
    with pq.ParquetFile(path) as file:
        long = any(pa.types.is_nested(column.type) or column.name == "full_results" for column in file.schema_arrow)
        line, total = 1, file.metadata.num_rows
        if not total:
            yield FileBatch(file.schema_arrow.empty_table(), np.zeros(0, dtype=np.int64), 1.0)
        for batch in file.iter_batches(NESTED_PARQUET_ROWS if long else PARQUET_ROWS):
            lines = np.arange(line, line + batch.num_rows)
            line += batch.num_rows
            yield FileBatch(pa.table(batch), lines, (line - 1) / total)


def _csv(path: Path) -> Iterator[FileBatch]:
    header = _header(path)
    skipped: list[csv.InvalidRow] = []

    def skip(row: csv.InvalidRow) -> str:
        skipped.append(row)
        return "skip"

    with _Source(path) as source:
        batches = _open_csv(source, skip, header)
        read, reported = 0, 0
        for batch in chain(batches, [_no_rows(header)]):  # malformed lines may come after the last batch
            numbers = np.array([row.number for row in skipped], dtype=np.int64)
            lines = _record_lines(read, batch.num_rows, numbers)
            read += batch.num_rows
            yield FileBatch(pa.table(batch), lines, source.done, _wrong_width(skipped[reported:], header))
            reported = len(numbers)


def _open_csv(
    source: "_Source", skip: Callable[[csv.InvalidRow], str], header: Sequence[str] = ()
) -> csv.CSVStreamingReader:
    return csv.open_csv(
        source.stream,
        csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),  # threads would lose the line numbers
        csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), null_values=NULL_TEXTS, strings_can_be_null=True
        ),
    )


def _record_lines(before: int, count: int, skipped: np.ndarray) -> np.ndarray:
    """Record numbers of `count` good rows after `before` others. The header is 1; `skipped` numbers are left out.

    >>> _record_lines(0, 3, np.array([3, 5])).tolist()
    [2, 4, 6]
    """
    counted = np.arange(before, before + count) + 2
    return counted + np.searchsorted(skipped - np.arange(len(skipped)), counted, side="right")


def _header(path: Path) -> list[str]:
    with _Source(path) as source:
        names = _open_csv(source, lambda _: "skip").schema.names
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ImportFileError(f"{path} has several columns called {', '.join(sorted(repeated))}. Rename all but one.")
    return names


def _no_rows(header: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in header]))


def _wrong_width(rows: list[csv.InvalidRow], header: list[str]) -> pd.DataFrame:
    key = next((header.index(name) for name in (ID, *FEATURE_KEYS) if name in header), None)
    fields = [next(csv_text.reader([row.text])) for row in rows]
    return pd.DataFrame(
        {
            "line": [row.number for row in rows],
            "row_id": [cells[key] if key is not None and key < len(cells) else None for cells in fields],
            "raw": [_shown(row.text) for row in rows],
            "reason": [
                f"the line has {row.actual_columns} fields and the header {row.expected_columns}: quote commas"
                for row in rows
            ],
        },
        columns=list(MALFORMED_COLUMNS),
    )


def _json_lines(path: Path) -> Iterator[FileBatch]:
    first, types = 1, None
    with _Source(path) as source:
        for block in _line_blocks(source):
            block_lines = block.split(b"\n")
            lines = np.array([first + n for n, text in enumerate(block_lines) if text.strip()], dtype=np.int64)
            texts = [text for text in block_lines if text.strip()]
            first += len(block_lines)
            if types is None:
                # Ids that look like dates or numbers must stay as they are written.
                names = parse_objects(texts[:SNIFFED_LINES])[0].column_names
                types = {name: pa.string() for name in names if name in (*TEXTS, *FEATURE_KEYS)}
            table, parsed = parse_objects(texts, types)
            yield FileBatch(table, lines[parsed], source.done, _not_objects(texts, lines, parsed))


def _line_blocks(source: "_Source") -> Iterator[bytes]:
    """Blocks of whole lines, about `BLOCK_BYTES` each, without the last line break."""
    rest = b""
    while chunk := source.stream.read(BLOCK_BYTES):
        block, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            yield block
        elif len(rest) > LONGEST_LINE:
            raise ImportFileError(
                f"A line of {source.path} is longer than {LONGEST_LINE:,} bytes. One row a line is needed."
            )
    if rest:
        yield rest


def _not_objects(texts: list[bytes], lines: np.ndarray, parsed: np.ndarray) -> pd.DataFrame:
    bad = np.setdiff1d(np.arange(len(texts)), parsed)
    raw = pd.Series([_shown(texts[n].decode(errors="replace")) for n in bad], dtype=object)
    return pd.DataFrame(
        {
            "line": lines[bad],
            "row_id": raw.str.extract(_ID_IN_JSON, expand=False),
            "raw": raw,
            "reason": f"the line is {NOT_AN_OBJECT}",
        }
    )


def _shown(text: str) -> str:
    return text[:LONGEST_RAW].replace("\0", "\ufffd")


class _Source:
    """A file's bytes, unpacked if it is a .gz, and how much of it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self._size = max(path.stat().st_size, 1)
        self.stream = gzip.GzipFile(fileobj=self._file) if path.suffix.lower() == ".gz" else self._file
        if self.stream.read(len(BOM_UTF8)) != BOM_UTF8:
            self.stream.seek(0)

    @property
    def done(self) -> float:
        return 1.0 if self._file.closed else self._file.tell() / self._size

    def __enter__(self) -> "_Source":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
