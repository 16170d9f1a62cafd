"""The quarantine: rows that cannot be right, with file, line, column, value and reason.

No entry is ever deleted. It is `pending` until a good row with its id arrives, then `repaired`. A row that a person
corrected stays repaired, with the correction, even if the same wrong row arrives again.

Every function takes a connection of `open_quarantine`.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, LiteralString

import pandas as pd
import psycopg
import psycopg2.extensions  # type: ignore[import-untyped]
from psycopg import sql
from psycopg.rows import args_row, class_row

from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.errors import InvalidInput, NotStored
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import ensure_table, psycopg_connect
from cleverbetter_dagster.store.postgres.session import server_encoding

Status = Literal["pending", "repaired", "all"]

ENTRY_COLUMNS = {
    "source": "text",
    "table_name": "text",
    "line": "int8",
    "row_id": "text",
    "column_name": "text",
    "value": "text",
    "reason": "text",
    "raw": "text",
}
"""The columns of a frame of new entries with their types, see `Entry`. Only `source`, `table_name` and `reason` need a
value in every row."""

_TABLE = """
CREATE TABLE quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    table_name text NOT NULL,
    line bigint,
    row_id text,
    column_name text,
    value text,
    reason text NOT NULL,
    raw text,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'repaired')),
    first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    repaired_at timestamptz,
    correction jsonb,
    fingerprint text NOT NULL UNIQUE GENERATED ALWAYS AS (md5(
        source || chr(31) || table_name || chr(31) || COALESCE(row_id, '') || chr(31) || COALESCE(column_name, '')
        || chr(31) || COALESCE(value, '') || chr(31) || reason || chr(31) || COALESCE(raw, ''))) STORED
);
CREATE INDEX quarantine_pending ON quarantine (table_name, row_id) WHERE status = 'pending';
COMMENT ON TABLE quarantine IS 'One row per reason why a row of a file or table cannot be right. The fingerprint '
    'leaves the line out, so that the same row at another line is the same entry.';
COMMENT ON COLUMN quarantine.correction IS 'Column and new value of what was corrected by hand before loading.';
"""

_ADD = sql.SQL("""
INSERT INTO quarantine ({columns}) SELECT * FROM unnest({values})
ON CONFLICT (fingerprint) DO UPDATE SET line = excluded.line,
    status = CASE WHEN quarantine.correction IS NULL THEN 'pending' ELSE quarantine.status END,
    repaired_at = CASE WHEN quarantine.correction IS NULL THEN NULL ELSE quarantine.repaired_at END""").format(
    columns=sql.SQL(", ").join(map(sql.Identifier, ENTRY_COLUMNS)),
    values=sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.Identifier(kind)) for kind in ENTRY_COLUMNS.values()),
)

# Two rows with one id are resolved only by importing again the file where the conflict was found.
_REPAIR = """
UPDATE quarantine SET status = 'repaired', repaired_at = clock_timestamp()
WHERE status = 'pending' AND table_name = %s AND row_id = ANY(%s)
  AND (column_name IS DISTINCT FROM %s OR source = %s)"""

_PENDING_IDS = """
SELECT DISTINCT row_id FROM quarantine
WHERE status = 'pending' AND row_id IS NOT NULL AND (%s::text IS NULL OR table_name = %s)"""

# A row of a file may have neither an id nor be whole; then each of its entries counts.
_MOST_FREQUENT = """
WITH pending AS (SELECT coalesce(row_id, raw, id::text) AS row, reason FROM quarantine
                 WHERE status = 'pending' AND table_name = %s)
SELECT (SELECT count(DISTINCT row) FROM pending), reason, count(DISTINCT row) FROM pending
GROUP BY reason ORDER BY 3 DESC, 2 LIMIT 1"""

# strpos, not LIKE: a person types text, not a pattern.
_FILTER = """
WHERE (%(status)s = 'all' OR status = %(status)s) AND strpos(table_name, %(table)s) > 0
  AND strpos(source, %(source)s) > 0 AND strpos(lower(reason), lower(%(reason)s)) > 0
  AND (%(column)s::text IS NULL OR column_name = %(column)s)
  AND (%(row_id)s::text IS NULL OR row_id = %(row_id)s)"""

_SAME_ROW = """
WHERE status = 'pending' AND source = %(source)s AND table_name = %(table_name)s
  AND row_id IS NOT DISTINCT FROM %(row_id)s AND raw IS NOT DISTINCT FROM %(raw)s"""


@dataclass(frozen=True)
class Entry:
    """One reason why one row cannot be right.

    Attributes:
        source: the file, or the table itself, in which the row was found; `line` is the file's, from 1.
        table_name: the table the row is meant for.
        raw: the row as it was found, as text.
        correction: what a person changed before the row was loaded.
    """

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
    def is_in_table(self) -> bool:
        """True if the row is in the table itself; otherwise it is in a file, and not loaded."""
        return self.source == self.table_name


@dataclass(frozen=True)
class PendingRows:
    """How many rows of a table wait for repair, and how many of them for the most frequent reason."""

    rows: int
    reason: str
    reason_rows: int


@dataclass(frozen=True)
class Filter:
    """Which entries to select; None and "" select all. `table`, `source` and `reason` are parts of those texts."""

    status: Status = "pending"
    table: str = ""
    source: str = ""
    column: str | None = None
    row_id: str | None = None
    reason: str = ""


@contextmanager
def open_quarantine(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection that commits each statement; the table exists.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    with psycopg_connect(settings, "state", autocommit=True) as connection:
        ensure_table(connection, "quarantine", _TABLE)
        yield connection


def add(connection: psycopg.Connection, entries: pd.DataFrame) -> None:
    """Add entries, a frame with exactly `ENTRY_COLUMNS` in any order. One that is there already becomes pending again.

    Raises:
        InvalidInput: names the columns that the frame lacks, or has too many.
    """
    lacking, unknown = ENTRY_COLUMNS.keys() - set(entries), set(entries) - ENTRY_COLUMNS.keys()
    if lacking or unknown:
        raise InvalidInput(
            f"New entries of the quarantine lack {', '.join(sorted(lacking)) or 'nothing'} and have unknown columns "
            f"{', '.join(sorted(map(str, unknown))) or 'none'}; give {', '.join(ENTRY_COLUMNS)}."
        )
    entries = entries[list(ENTRY_COLUMNS)]
    entries = entries.replace("\0", "\ufffd", regex=True)  # the one character PostgreSQL cannot hold
    if server_encoding(connection) not in ("UTF8", "SQL_ASCII"):  # neither lacks a character
        codec = psycopg2.extensions.encodings[server_encoding(connection)]
        texts = [name for name, kind in ENTRY_COLUMNS.items() if kind == "text"]
        entries[texts] = entries[texts].map(
            lambda text: text.encode(codec, "backslashreplace").decode(codec), na_action="ignore"
        )
    distinct = entries.drop_duplicates([column for column in ENTRY_COLUMNS if column != "line"]).astype(object)
    connection.execute(_ADD, [distinct[column].where(distinct[column].notna(), None).tolist() for column in distinct])


def mark_repaired(
    connection: psycopg.Connection, source: str, row_ids: Collection[str], table: str | None = None
) -> int:
    """Mark the pending entries of good rows found in `source` as repaired. Returns how many.

    An entry about an id with two contents is repaired only by the source it was found in.

    Args:
        table: the table the rows are meant for; None: `source` is that table.
    """
    return connection.execute(_REPAIR, [table or source, list(row_ids), ID, source]).rowcount


def settle(
    connection: psycopg.Connection, entry_ids: Collection[int], correction: Mapping[str, str] | None = None
) -> int:
    """Mark pending entries as repaired: their rows were loaded, perhaps with a correction. Returns how many."""
    return connection.execute(
        """UPDATE quarantine SET status = 'repaired', repaired_at = clock_timestamp(), correction = %s::jsonb
           WHERE status = 'pending' AND id = ANY(%s)""",
        [json.dumps(dict(correction)) if correction else None, list(entry_ids)],
    ).rowcount


def count_pending(connection: psycopg.Connection) -> int:
    """Number of entries that wait for repair."""
    (count,) = connection.execute("SELECT count(*) FROM quarantine WHERE status = 'pending'").fetchone() or (0,)
    return int(count)


def pending_rows(connection: psycopg.Connection, table: str) -> PendingRows | None:
    """The rows that wait for repair, meant for or in the table `schema.name`; None without any."""
    return connection.cursor(row_factory=args_row(PendingRows)).execute(_MOST_FREQUENT, [table]).fetchone()


def pending_ids(connection: psycopg.Connection, table: str | None = None) -> list[str]:
    """Ids of the rows that wait for repair, of one table or of all."""
    return [row_id for (row_id,) in connection.execute(_PENDING_IDS, [table, table])]


def select_entries(connection: psycopg.Connection, wanted: Filter, limit: int | None = None) -> list[Entry]:
    """The entries, newest first."""
    return _select(connection, _FILTER, {**vars(wanted), "limit": limit})


def select_entry(connection: psycopg.Connection, entry_id: int) -> Entry:
    """One entry by its number.

    Raises:
        NotStored: there is no such entry.
    """
    entries = _select(connection, "WHERE id = %(id)s", {"id": entry_id})
    if not entries:
        raise NotStored(f"There is no entry {entry_id} in quarantine; `cleverbetter quarantine list` shows them.")
    return entries[0]


def select_of_same_row(connection: psycopg.Connection, entry: Entry) -> list[Entry]:
    """Every pending entry about the row of `entry`."""
    return _select(connection, _SAME_ROW, vars(entry))


def _select(connection: psycopg.Connection, where: LiteralString, values: Mapping[str, Any]) -> list[Entry]:
    columns = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(Entry))
    query = sql.SQL("SELECT {} FROM quarantine {} ORDER BY id DESC LIMIT %(limit)s").format(columns, sql.SQL(where))
    return connection.cursor(row_factory=class_row(Entry)).execute(query, {"limit": None, **values}).fetchall()
