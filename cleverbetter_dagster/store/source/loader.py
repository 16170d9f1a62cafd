"""Reads rows from PostgreSQL into Arrow about as fast as the server can send them. Python touches no row.

A thread writes the server's answer into one end of a pipe; pyarrow's CSV reader parses the other end into columns. The
format is COPY's text format: it costs the server a sixth less than CSV, and no value contains a line break.

Made by hand because ADBC reads numeric columns as opaque text, and row drivers are several times slower.
"""

import fcntl
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from pyarrow import csv

from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.quality.left_out import total, with_left_out, without_infinite
from cleverbetter_dagster.dataset.quality.rules import examine
from cleverbetter_dagster.dataset.schema import DEFAULT_METHOD, METHOD, column_type, market_columns
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.giving_way import (
    LOAD_PATIENCE_SECONDS,
    ReadSession,
    read_session,
    with_patience,
)
from cleverbetter_dagster.store.source.layout import SourceLayout, resolve_source
from cleverbetter_dagster.store.source.market_json import MANY_KEYS
from cleverbetter_dagster.store.source.row_blocks import ReadRows, RowBlocks
from cleverbetter_dagster.store.source.row_query import MARKET_OBJECTS, UNKNOWN_KEYS, RowQuery
from cleverbetter_dagster.store.source.tables import EMBEDDED_FEATURES

BLOCK_BYTES = 1 << 20
"""Text that is parsed at once. Larger blocks cost memory, and are only needed for a row that is longer."""

LARGEST_BLOCK_BYTES = 1 << 30
"""PostgreSQL sends no longer row."""

BLOCK_GROWTH = 32
_TOO_LONG_FOR_A_BLOCK = "straddling object"  # in pyarrow's message

PIPE_BYTES = 1 << 20
"""How far the server may run ahead of the parser, so that neither often waits for the other."""

_ESCAPED = {"\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v"}

SAMPLED_ROWS = 100
"""Rows whose JSON keys are read first; a key or a text that only other rows have costs a second reading."""


def load_rows(session: ReadSession, query: RowQuery, now: pd.Timestamp) -> tuple[pa.Table, pd.DataFrame]:
    """The good rows of the query, canonical, and the violations of the others; `now` as for `rules.examine`.

    The rows carry what was left out of their market features (`left_out.left_out_of`).

    Raises:
        psycopg2.Error: the server ended the session; `read_session` says why.
    """
    read = read_rows(session, query)
    finite, infinite = without_infinite(read.table)
    rows, violations = examine(finite, now, read.unreadable)
    return with_left_out(rows, total([read.left_out, infinite])), violations


def load_all_rows(settings: Settings, now: pd.Timestamp) -> pa.Table:
    """The good rows of every month, as `load_rows`.

    Raises:
        CleverBetterError: as `resolve_source` and `read_session`.
    """

    def load() -> pa.Table:
        query = RowQuery(resolve_source(settings), categories=settings.categorical_features)
        with read_session(settings) as session:
            return load_rows(session, query, now)[0]

    return with_patience(load, LOAD_PATIENCE_SECONDS)


def read_rows(session: ReadSession, query: RowQuery) -> ReadRows:
    """All rows of the query.

    Raises:
        psycopg2.Error: as `load_rows`.
    """
    query = _with_keys(session, _without_empty_column(session, query), SAMPLED_ROWS)
    rows, has_unknown_keys = _read(session, query)
    while has_unknown_keys and (more := _with_keys(session, query, None)) != query:
        query = more
        rows, has_unknown_keys = _read(session, query)
    return rows


def month_counts(settings: Settings, layout: SourceLayout) -> dict[str, int]:
    """Number of rows by month of window end, in order of time: `{"2023-11": 400, ...}`. Only months with rows.

    Raises:
        CleverBetterError: as `read_session`.
    """

    def count() -> dict[str, int]:
        with read_session(settings) as session:
            return dict(session.rows(RowQuery(layout).counts()))

    return with_patience(count, LOAD_PATIENCE_SECONDS)


def _without_empty_column(session: ReadSession, query: RowQuery) -> RowQuery:
    """Without the results table's own JSON column if no row uses it: reading a second JSON column is slow."""
    embedded = query.layout.embedded
    if embedded is None or query.layout.features is None:
        return query
    used = session.rows(query.embedded_used(embedded)) == [(True,)]
    return query if used else replace(query, layout=replace(query.layout, embedded=None))


def _with_keys(session: ReadSession, query: RowQuery, sampled_rows: int | None) -> RowQuery:
    """The query with the JSON keys that some row has."""
    if not query.reads_json:
        return query
    keys = dict(session.rows(query.keys(sampled_rows)))
    if len(keys) > MANY_KEYS:
        return replace(query, json_keys=(), text_keys=frozenset(), whole_objects=True)
    text_keys = frozenset(key for key, numbers in keys.items() if not numbers)
    return replace(query, json_keys=tuple(keys), text_keys=text_keys)


def _read(session: ReadSession, query: RowQuery) -> tuple[ReadRows, bool]:
    """The rows, and whether some row has a JSON key that is no column yet."""
    try:
        rows = _in_large_enough_blocks(lambda block_bytes: _read_types(session, query, block_bytes))
    except pa.ArrowInvalid:  # a value is no number, no date, or no UTF-8: read texts to find it
        texts = replace(query, text_keys=frozenset(query.json_keys))
        rows = _in_large_enough_blocks(lambda block_bytes: _read_texts(session, texts, block_bytes))
    table, unreadable, left_out = rows.table, rows.unreadable, rows.left_out
    if METHOD not in table.column_names:
        table = table.append_column(METHOD, pa.repeat(DEFAULT_METHOD, table.num_rows))
    if UNKNOWN_KEYS not in table.column_names:
        return ReadRows(table, unreadable, left_out), False
    unknown = table[UNKNOWN_KEYS]
    is_object = pc.starts_with(unknown, "{").fill_null(False)
    odd = pc.and_(unknown.is_valid(), pc.invert(is_object)).to_numpy()
    reason = f"{EMBEDDED_FEATURES} is not a JSON object: write {{}} if there are none"
    odd_values = violations_at(table, UNKNOWN_KEYS, odd, reason).assign(column=EMBEDDED_FEATURES)
    rows = ReadRows(table.drop_columns([UNKNOWN_KEYS]), gathered([unreadable, odd_values]), left_out)
    return rows, bool(pc.any(is_object).as_py())


def _in_large_enough_blocks(read: Callable[[int], ReadRows]) -> ReadRows:
    """What `read` returns with the smallest blocks (in bytes) that hold the longest row."""
    block_bytes = BLOCK_BYTES
    while True:
        try:
            return read(block_bytes)
        except pa.ArrowInvalid as error:
            if _TOO_LONG_FOR_A_BLOCK not in str(error) or block_bytes >= LARGEST_BLOCK_BYTES:
                raise
        block_bytes = min(block_bytes * BLOCK_GROWTH, LARGEST_BLOCK_BYTES)


def _read_types(session: ReadSession, query: RowQuery, block_bytes: int) -> ReadRows:
    """The fast way: columns are parsed as what they should be. Only market features read as text are converted here."""
    types = query.column_types
    texts = [name for name in market_columns(types) if types[name] == pa.string()]
    blocks = RowBlocks(pa.schema(types | {name: column_type(name) for name in texts}))
    for batch in _batches(session, query, types, block_bytes):
        block = pa.table(batch)
        numbers, unreadable = canonical_types(block.select(texts))
        for name in texts:
            block = block.set_column(block.column_names.index(name), name, numbers[name])
        blocks.add(block, unreadable)
    return blocks.rows()


def _read_texts(session: ReadSession, query: RowQuery, block_bytes: int) -> ReadRows:
    """The slow way: all as text, converted here, so that each unreadable value is found."""
    texts = dict.fromkeys(query.column_types, pa.string())
    blocks = RowBlocks(pa.schema(texts))
    for batch in _batches(session, query, texts, block_bytes):
        block = pa.table(batch)
        untyped = [name for name in block.column_names if name in (UNKNOWN_KEYS, MARKET_OBJECTS)]
        converted, unreadable = canonical_types(block.drop_columns(untyped))
        for name in untyped:
            converted = converted.append_column(name, block[name])
        blocks.add(converted, unreadable)
    return blocks.rows()


def _batches(
    session: ReadSession, query: RowQuery, types: dict[str, pa.DataType], block_bytes: int
) -> Iterator[pa.RecordBatch]:
    texts_only = set(types.values()) == {pa.string()}  # then each text is examined later
    with _sent_text(session, query.select()) as stream:
        if not stream.peek(1):  # no rows, which is an error for pyarrow
            return
        for batch in csv.open_csv(
            stream,
            csv.ReadOptions(column_names=list(types), block_size=block_bytes),
            csv.ParseOptions(delimiter="\t", quote_char=False),
            # Empty text is missing as well as NULL.
            csv.ConvertOptions(
                column_types=types,
                null_values=["\\N", ""],
                strings_can_be_null=True,
                check_utf8=query.layout.any_bytes and not texts_only,
            ),
        ):
            yield pa.record_batch([_unescaped(column) for column in batch.columns], schema=batch.schema)


def _unescaped(column: pa.Array) -> pa.Array:
    """A column as it was before the server escaped its text with backslashes."""
    if not pa.types.is_string(column.type) or not _has_backslash(column):
        return column
    column = pc.replace_substring(column, "\\\\", "\0")  # no text in PostgreSQL contains NUL
    for escaped, character in _ESCAPED.items():
        column = pc.replace_substring(column, escaped, character)
    return pc.replace_substring(column, "\0", "\\")


def _has_backslash(texts: pa.StringArray) -> bool:
    """Searches all bytes of the column at once: value by value would take a fifth of the whole reading."""
    characters = texts.buffers()[2]
    return characters is not None and bool((np.frombuffer(characters, np.uint8) == ord("\\")).any())


@contextmanager
def _sent_text(session: ReadSession, statement: sql.Composed) -> Iterator[io.BufferedReader]:
    """The server's answer to `COPY (statement)`, as a stream."""
    read_end, write_end = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux; elsewhere a pipe is as large as it is
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with ThreadPoolExecutor(1, thread_name_prefix="copy") as pool, open(read_end, "rb") as stream:
        sending = pool.submit(_send, session, statement, write_end)
        try:
            yield stream
        except pa.ArrowInvalid:
            while stream.read(PIPE_BYTES):  # the session can go on only when the answer has ended
                pass
            sending.result()  # raises if the server dropped the connection in mid-row
            raise
        sending.result()


def _send(session: ReadSession, statement: sql.Composed, write_end: int) -> None:
    try:
        with open(write_end, "wb", buffering=PIPE_BYTES) as sink:
            session.copy(statement, sink)
    except BrokenPipeError:
        return  # the reader stopped, and raises its own error
