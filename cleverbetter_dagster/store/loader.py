"""Rows from PostgreSQL into Arrow at about the speed the server can send, without touching a row in Python.

The server writes CSV into one end of a pipe, on a thread; pyarrow's reader parses the other end into columns.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

import pandas as pd
import psycopg
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from pyarrow import csv

from cleverbetter_dagster.dataset.conversion import canonical_types, gathered
from cleverbetter_dagster.dataset.quality import examine
from cleverbetter_dagster.dataset.schema import METHOD, DEFAULT_METHOD
from cleverbetter_dagster.errors import DatabaseUnavailable
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.database import engine, psycopg_connect
from cleverbetter_dagster.store.layout import SourceLayout
from cleverbetter_dagster.store.row_query import UNKNOWN_KEYS, RowQuery

BLOCK_BYTES = 1 << 20
"""How much CSV is parsed at once. Larger blocks cost memory and gain nothing."""

SAMPLED_ROWS = 100
"""Rows whose JSON keys are looked up before reading; a key met later costs a second reading."""


@dataclass(frozen=True)
class LoadedRows:
    """Rows read from the database.

    Attributes:
        rows: canonical rows that can be right, in Arrow.
        violations: `conversion.VIOLATION_COLUMNS`, why the other rows cannot.
        rows_read: how many rows the query gave, good and bad.
    """

    rows: pa.Table
    violations: pd.DataFrame
    rows_read: int


def load_rows(
    settings: Settings,
    layout: SourceLayout,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    now: pd.Timestamp,
) -> LoadedRows:
    """The rows decided in `[start, end)`, examined.

    Args:
        start, end: UTC instants; None leaves that side open.
        now: UTC instant of the examination, see `quality.examine`.

    Raises:
        DatabaseUnavailable: the server stopped answering on the way.
    """
    rows, unreadable = read_rows(settings, layout, start, end)
    good, violations = examine(rows, now, unreadable)
    return LoadedRows(good, violations, rows.num_rows)


def read_rows(
    settings: Settings, layout: SourceLayout, start: pd.Timestamp | None, end: pd.Timestamp | None
) -> tuple[pa.Table, pd.DataFrame]:
    """The rows decided in `[start, end)`, good and bad, and a violation for each value that could not be read.

    Columns are under canonical names; every JSON key and numeric column of the market features is one. Where
    some value could not be read all columns are canonical already; otherwise dates may lack their zone still.

    Raises:
        DatabaseUnavailable: the server stopped answering on the way.
    """
    query = RowQuery(layout, start, end)
    query = replace(query, json_keys=_keys(settings, query, SAMPLED_ROWS))
    table, unreadable = _read(settings, query)
    while UNKNOWN_KEYS in table.column_names and set(known := _keys(settings, query, None)) - set(query.json_keys):
        query = replace(query, json_keys=known)
        table, unreadable = _read(settings, query)
    return table, unreadable


def month_counts(settings: Settings, layout: SourceLayout) -> dict[str, int]:
    """Rows by month of their decision time, months without rows left out.

    Returns:
        `{"2023-11": 400, ...}`, in order of time.
    """
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        rows = connection.execute(RowQuery(layout, None, None).counts()).fetchall()
    return {f"{month:%Y-%m}": count for month, count in rows}
