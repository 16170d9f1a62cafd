"""What every reader gives: the names of a file's columns, and its rows in batches."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.arrow_values import plain_table
from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers.source import DAMAGED
from cleverbetter_dagster.store.source.layout import FEATURE_KEYS

BLOCK_BYTES = 2 << 20
"""Text that is parsed at once."""

BATCH_ROWS = 32_768
BATCH_BYTES = 16 << 20
"""Most rows of a batch, and about how many bytes they may have in memory."""

LONGEST_LINE = 16 << 20
"""Bytes of a line, CSV record or array element; longer ones go to quarantine unread."""

LONGEST_RAW = 10_000
"""Characters of a malformed line that are stored."""

LONGEST_ID = 200
"""Characters of its id that are stored."""

KEYS = (ID, *FEATURE_KEYS)
"""Names under which a malformed line may have its row's id, best first."""

MALFORMED_COLUMNS = ("line", "row_id", "raw", "reason")


def no_malformed() -> pd.DataFrame:
    """An empty frame of `MALFORMED_COLUMNS`."""
    return malformed_rows([])


def malformed_rows(rows: Sequence[tuple[int, str | None, str, str]]) -> pd.DataFrame:
    """A frame of `MALFORMED_COLUMNS`; raw texts are cut and cleaned so that they can be stored."""
    shown = [(line, row_id and _clean(row_id)[:LONGEST_ID], _clean(raw), reason) for line, row_id, raw, reason in rows]
    return pd.DataFrame(shown, columns=list(MALFORMED_COLUMNS)).astype({"line": np.int64})


def _clean(text: str) -> str:
    return text[:LONGEST_RAW].replace("\0", "\ufffd")


@dataclass(frozen=True)
class FileBatch:
    """Some rows of a file.

    Attributes:
        table: the rows as the file has them: CSV as texts, the others in their own types.
        lines: the line of each row, int64; no two rows of a file have the same.
        done: the fraction of the file that has been read.
        malformed: lines that are no row: a frame of `MALFORMED_COLUMNS`, with the id if it can be recognised.
    """

    table: pa.Table
    lines: np.ndarray
    done: float
    malformed: pd.DataFrame = field(default_factory=no_malformed)


class RowFile(ABC):
    """A file of rows.

    Attributes:
        path: the file, or a folder of files.
        names: every column that some row of the file has, in the order of their first occurrence.
    """

    path: Path
    names: tuple[str, ...]

    @abstractmethod
    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        """See `batches`."""

    def batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        """All rows, with those of `columns` that some row of a batch has, in plain types; memory is bounded by a batch.

        A file without rows gives at least one batch.

        Raises:
            ImportFileError: the file is damaged.
        """
        batches = self._batches({*columns})
        while True:
            with readable(self.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield replace(batch, table=plain_table(batch.table))

    def sample(self) -> pa.Table:
        """Some values of each column: those of the first batch in which it has a value, if it has one in the file."""
        first = next(self.batches(self.names)).table
        values = {name: first[name] for name in first.column_names}
        unseen = {name for name in self.names if not _has_value(values.get(name))}
        for batch in self.batches(unseen) if unseen else ():
            seen = {name for name in unseen & {*batch.table.column_names} if _has_value(batch.table[name])}
            values |= {name: batch.table[name] for name in seen}
            unseen -= seen
            if not unseen:
                break
        longest = max((len(column) for column in values.values()), default=0)
        return pa.table({name: _padded(column, longest) for name, column in values.items()})


def check_distinct(path: Path, names: Sequence[str]) -> None:
    """Check that no two columns of a file have the same name.

    Raises:
        ImportFileError: some have.
    """
    repeated = {name for name, count in Counter(names).items() if count > 1}
    if repeated:
        raise ImportFileError(f"{path} has several columns called {', '.join(sorted(repeated))}. Rename all but one.")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what reading a damaged file raises into an `ImportFileError`."""
    try:
        yield
    except DAMAGED as error:
        raise ImportFileError(
            f"{path} cannot be read: {error}. Check that it is there, that its ending names its kind, and that it is "
            "complete."
        ) from None


def _has_value(column: pa.ChunkedArray | None) -> bool:
    return column is not None and column.null_count < len(column)


def _padded(column: pa.ChunkedArray, count: int) -> pa.ChunkedArray:
    missing = pa.nulls(count - len(column), column.type)
    return pa.chunked_array([*column.chunks, missing], column.type)
