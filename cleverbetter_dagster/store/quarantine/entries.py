"""Single entries of the quarantine: found by what they are about, and settled by hand.

Every function takes a connection of `quarantine.open_quarantine`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row

Status = Literal["pending", "repaired", "all"]

_COLUMNS = (
    "id, source, table_name, line, row_id, column_name, value, reason, raw, status, first_seen, repaired_at, correction"
)


@dataclass(frozen=True)
class Entry:
    """One reason why one row cannot be right. Columns as `quarantine.ENTRY_COLUMNS`, and what became of it."""

    id: int
    source: str
    table_name: str
    line: int | None
    row_id: str | None
    column_name: str | None
    value: str | None
    reason: str
    raw: str | None
    status: str
    first_seen: datetime
    repaired_at: datetime | None
    correction: dict[str, str] | None

    @property
    def met_in_table(self) -> bool:
        """Whether the row is in the table itself already; else it is in a file, and not loaded."""
        return self.source == self.table_name


@dataclass(frozen=True)
class Filter:
    """Which entries are wanted; None and "" ask nothing.

    Attributes:
        source: a part of the file's or table's name; `reason` likewise.
    """

    status: Status = "pending"
    table: str = ""
    source: str = ""
    column: str | None = None
    row_id: str | None = None
    reason: str = ""


def select_entries(connection: psycopg.Connection, wanted: Filter, limit: int | None = None) -> list[Entry]:
    """The entries, newest first."""
    # strpos, not LIKE: what a person types is no pattern.
    query = sql.SQL(
        """SELECT {} FROM quarantine
           WHERE (%(status)s = 'all' OR status = %(status)s) AND strpos(table_name, %(table)s) > 0
             AND strpos(source, %(source)s) > 0 AND strpos(lower(reason), lower(%(reason)s)) > 0
             AND (%(column)s::text IS NULL OR column_name = %(column)s)
             AND (%(row_id)s::text IS NULL OR row_id = %(row_id)s)
           ORDER BY id DESC LIMIT %(limit)s"""
    ).format(sql.SQL(_COLUMNS))
    cursor = connection.cursor(row_factory=class_row(Entry))
    return cursor.execute(query, {**vars(wanted), "limit": limit}).fetchall()


def select_entry(connection: psycopg.Connection, entry_id: int) -> Entry | None:
    """One entry by its number."""
    query = sql.SQL("SELECT {} FROM quarantine WHERE id = %s").format(sql.SQL(_COLUMNS))
    return connection.cursor(row_factory=class_row(Entry)).execute(query, [entry_id]).fetchone()


def select_of_same_row(connection: psycopg.Connection, entry: Entry) -> list[Entry]:
    """Every pending entry about the row that `entry` is about."""
    query = sql.SQL(
        """SELECT {} FROM quarantine WHERE status = 'pending' AND source = %s AND table_name = %s
           AND row_id IS NOT DISTINCT FROM %s AND raw IS NOT DISTINCT FROM %s ORDER BY id"""
    ).format(sql.SQL(_COLUMNS))
    cursor = connection.cursor(row_factory=class_row(Entry))
    return cursor.execute(query, [entry.source, entry.table_name, entry.row_id, entry.raw]).fetchall()


def settle(
    connection: psycopg.Connection, entry_ids: Collection[int], correction: Mapping[str, str] | None = None
) -> int:
    """The rows of these pending entries were loaded; how many entries there were.

    Args:
        correction: what was changed by hand before; it stays with the entries.
    """
    return connection.execute(
        """UPDATE quarantine SET status = 'repaired', repaired_at = clock_timestamp(), correction = %s::jsonb
           WHERE status = 'pending' AND id = ANY(%s)""",
        [json.dumps(dict(correction)) if correction else None, list(entry_ids)],
    ).rowcount
