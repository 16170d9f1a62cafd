"""Parquet, a folder of Parquet, and Arrow (Feather). A line is a row, counted from 1.

Only the wanted columns are read. A batch has as many rows as fit into `BATCH_BYTES` unpacked: a text that is stored
once and repeated a million times takes kilobytes in a file and gigabytes in memory.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc
from pyarrow import parquet as pq

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.imports.readers.row_file import FileBatch, RowFile, check_distinct
from cleverbetter_dagster.store.imports.readers.source import UnpackedFile

NESTED_ROWS = 1_024
"""Rows that are unpacked at once of columns whose unpacked size cannot be told beforehand."""

_INSTANTS = {"coerce_int96_timestamp_unit": "us"}
"""For the timestamps of Spark and Hive: read as nanoseconds, the year 2608 would come out as 2023."""

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class ParquetFiles(RowFile):
    """A Parquet file, or all of a folder in the order of their names; rows are counted on from file to file.

    A folder called `name=value` gives the rows below it the column `name`, unless their file has one.
    """

    def __init__(self, path: Path) -> None:
        """Raises ImportFileError: the folder has no Parquet file, or a file names two columns alike."""
        self.path, self._unpacked = path, UnpackedFile(path)  # which is there as long as this object
        self._files = _parquet_below(path) if path.is_dir() else [(self._unpacked.path, {})]
        names: dict[str, None] = {}
        self._rows = 0
        for file, partition in self._files:
            with pq.ParquetFile(file) as opened:
                check_distinct(file, opened.schema_arrow.names)
                names |= dict.fromkeys((*opened.schema_arrow.names, *partition))
                self._rows += opened.metadata.num_rows
        self.names = tuple(names)

    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        read = 0
        for file, partition in self._files:
            for table in _parquet_tables(file, columns):
                for name, value in partition.items():
                    if name in columns and name not in table.column_names:
                        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
                lines = np.arange(read + 1, read + len(table) + 1)
                read += len(table)
                yield FileBatch(table, lines, read / max(self._rows, 1))


class ArrowFile(RowFile):
    """An Arrow file or stream, or a Feather file of either version."""

    def __init__(self, path: Path) -> None:
        """Raises ImportFileError: two columns have one name."""
        self.path, self._unpacked = path, UnpackedFile(path)
        with pa.OSFile(str(self._unpacked.path)) as file:
            self.names = tuple(_arrow_reader(file, None).schema.names)
        check_distinct(path, self.names)

    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        wanted = [index for index, name in enumerate(self.names) if name in columns]
        read, size = 0, max(self._unpacked.path.stat().st_size, 1)
        with pa.OSFile(str(self._unpacked.path)) as file:
            reader = _arrow_reader(file, wanted)
            empty = pa.table({name: pa.nulls(0) for name in reader.schema.names})
            yield FileBatch(empty, np.zeros(0, dtype=np.int64), 0.0)
            for batch in _record_batches(reader):
                for table in _pieces(pa.table(batch)):
                    lines = np.arange(read + 1, read + len(table) + 1)
                    read += len(table)
                    yield FileBatch(table, lines, min(file.tell() / size, 1.0))


def _parquet_below(folder: Path) -> list[tuple[Path, dict[str, str | None]]]:
    """The Parquet files of a folder with what the names of their folders say; hidden ones and `_metadata` left out."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".parquet", ".pq")]
    files = []
    for path in paths:
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(("_", ".")) for part in parts):
            pairs = (part.split("=", 1) for part in parts[:-1] if "=" in part)
            files.append((path, {unquote(name): None if text == HIVE_NULL else unquote(text) for name, text in pairs}))
    if not files:
        raise ImportFileError(f"The folder {folder} has no file that ends in .parquet. Name a file, or another folder.")
    return files


def _parquet_tables(path: Path, columns: Collection[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(path, **_INSTANTS) as file:
        wanted = [field for field in file.schema_arrow if field.name in columns]
        texts = [field.name for field in wanted if _is_text(field.type)]
        names = [field.name for field in wanted]
    # Texts are read as the file has them, each different one once.
    with pq.ParquetFile(path, read_dictionary=texts, buffer_size=1 << 20, **_INSTANTS) as file:
        schema = pa.schema(wanted)
        if not file.metadata.num_rows:
            yield schema.empty_table()
        if not names:
            yield pa.table({"": pa.nulls(file.metadata.num_rows)}).select([])
            return
        for group in range(file.metadata.num_row_groups):
            for batch in file.iter_batches(
                _rows_at_once(file, group, schema), row_groups=[group], columns=names, use_threads=False
            ):
                yield from _pieces(pa.table(batch).select(names), schema)


def _rows_at_once(file: pq.ParquetFile, group: int, schema: pa.Schema) -> int:
    """Rows of which the columns, with each text once, have about `BATCH_BYTES`."""
    metadata = file.metadata.row_group(group)
    every = [metadata.column(index) for index in range(metadata.num_columns)]
    read = [column for column in every if column.path_in_schema.split(".")[0] in {*schema.names}]
    stored = sum(column.total_uncompressed_size for column in read) / max(metadata.num_rows, 1)
    rows = int(row_file.BATCH_BYTES / max(stored, 8 * len(read), 1))
    unknown = any(pa.types.is_nested(f.type) and not _of_numbers(f.type) for f in schema)
    return max(1, min(rows, NESTED_ROWS if unknown else row_file.BATCH_ROWS))


def _of_numbers(kind: pa.DataType) -> bool:
    """True for a struct of numbers: each row of it has the same size."""
    return pa.types.is_struct(kind) and all(pa.types.is_primitive(field.type) for field in kind)


def _pieces(table: pa.Table, schema: pa.Schema | None = None) -> Iterator[pa.Table]:
    """The table in pieces of at most about `BATCH_BYTES` and `BATCH_ROWS` once its dictionaries are unpacked."""
    sizes = np.full(len(table), table.get_total_buffer_size() / max(len(table), 1))
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            sizes += _unpacked_sizes(column)
    piece = np.maximum(np.cumsum(sizes) // row_file.BATCH_BYTES, np.arange(len(table)) // row_file.BATCH_ROWS)
    starts = np.flatnonzero(np.diff(piece, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(table)], strict=True):
        part = table.slice(start, end - start)
        yield part.cast(schema) if schema else part


def _unpacked_sizes(column: pa.ChunkedArray) -> np.ndarray:
    """Bytes of each row of a dictionary column without its dictionary."""
    sizes = []
    for chunk in column.chunks:
        values = chunk.dictionary
        if not _is_text(values.type):
            return np.full(len(column), 8.0)
        lengths = pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        indices = chunk.indices.fill_null(0).to_numpy(zero_copy_only=False)
        sizes.append(lengths[indices].astype(float) if len(lengths) else np.zeros(len(chunk)))
    return np.concatenate(sizes) if sizes else np.zeros(0)


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _arrow_reader(
    file: pa.NativeFile, columns: list[int] | None
) -> ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader:
    options = ipc.IpcReadOptions(included_fields=columns, use_threads=False)
    start = file.read(8)
    file.seek(0)
    if start.startswith(b"FEA1"):
        raise pa.ArrowInvalid("it is Feather of version 1; write version 2")
    if start.startswith(b"ARROW1"):
        return ipc.open_file(file, options=options)
    return ipc.open_stream(file, options=options)


def _record_batches(reader: ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, ipc.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from reader
