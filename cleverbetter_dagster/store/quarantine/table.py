"""Rows that cannot be right, kept with file, line, column, value and reason until they are repaired.

Nobody deletes from this table: an entry is `pending` until a good row with its id arrives, then `repaired`. What a
person corrected stays repaired, with the correction, also where the same wrong row is met again.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pandas as pd
import psycopg

from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import advisory_lock, psycopg_connect

ENTRY_COLUMNS = ("source", "table_name", "line", "row_id", "column_name", "value", "reason", "raw")
"""A frame of entries. `source`: the file, or the table itself, the row was met in; `table_name`: the table it is
meant for; `line`: of the file, from 1; `raw`: the row as it came, as text. All but `source`, `table_name` and `reason`
may be missing."""

TABLE_LOCK = "quarantine table"

DDL = """
CREATE TABLE IF NOT EXISTS quarantine (
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
    fingerprint text NOT NULL UNIQUE GENERATED ALWAYS AS (md5(
        source || chr(31) || table_name || chr(31) || COALESCE(row_id, '') || chr(31) || COALESCE(column_name, '')
        || chr(31) || COALESCE(value, '') || chr(31) || reason || chr(31) || COALESCE(raw, ''))) STORED
);
CREATE INDEX IF NOT EXISTS quarantine_pending ON quarantine (table_name, row_id) WHERE status = 'pending';
COMMENT ON TABLE quarantine IS 'One row per reason why a row of a file or table cannot be right. The fingerprint '
    'leaves the line out, so that the same row met again is the same entry.';
ALTER TABLE quarantine ADD COLUMN IF NOT EXISTS correction jsonb;
COMMENT ON COLUMN quarantine.correction IS 'Column and new value of what was corrected by hand before loading.';
"""

_EXISTS = """SELECT EXISTS (SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('quarantine') AND attname = 'correction' AND NOT attisdropped)"""

_ADD = """
INSERT INTO quarantine (source, table_name, line, row_id, column_name, value, reason, raw)
SELECT * FROM unnest(
    %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
ON CONFLICT (fingerprint) DO UPDATE SET line = excluded.line,
    status = CASE WHEN quarantine.correction IS NULL THEN 'pending' ELSE quarantine.status END,
    repaired_at = CASE WHEN quarantine.correction IS NULL THEN NULL ELSE quarantine.repaired_at END"""

# Which of two contents of one id is right is not settled by meeting one of them in some other file again.
_REPAIR = """
UPDATE quarantine SET status = 'repaired', repaired_at = clock_timestamp()
WHERE status = 'pending' AND table_name = %s AND row_id = ANY(%s)
  AND (column_name IS DISTINCT FROM %s OR source = %s)"""

_PENDING_IDS = """
SELECT DISTINCT row_id FROM quarantine
WHERE status = 'pending' AND row_id IS NOT NULL AND (%s::text IS NULL OR table_name = %s)"""

_LIST = """
SELECT id, first_seen, source, table_name, line, row_id, column_name, value, reason, raw FROM quarantine
WHERE status = 'pending' ORDER BY id DESC LIMIT %s"""


@contextmanager
def open_quarantine(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection that commits by itself, for the functions below; the table exists.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    with psycopg_connect(settings, "state", autocommit=True) as connection:
        if connection.execute(_EXISTS).fetchone() != (True,):
            with advisory_lock(connection, TABLE_LOCK):
                connection.execute(DDL)
        yield connection


def add(connection: psycopg.Connection, entries: pd.DataFrame) -> None:
    """Put entries (`ENTRY_COLUMNS`) into quarantine. One already there is kept, and pending again.

    Entries without `table_name` were met in the table itself: it is their source.
    """
    if "table_name" not in entries:
        entries = entries.assign(table_name=entries["source"])
    fingerprinted = [column for column in ENTRY_COLUMNS if column != "line"]
    entries = entries.replace("\0", "\ufffd", regex=True)  # the one character PostgreSQL cannot hold
    distinct = entries.drop_duplicates(fingerprinted)[list(ENTRY_COLUMNS)].astype(object)
    connection.execute(_ADD, [distinct[column].where(distinct[column].notna(), None).tolist() for column in distinct])


def mark_repaired(
    connection: psycopg.Connection, source: str, row_ids: Collection[str], table: str | None = None
) -> int:
    """Good rows with these ids were met in `source`: their pending entries for `table` are repaired. Returns how many.

    An entry about an id with several contents is settled by the source it was met in alone.

    Args:
        table: the table the rows are meant for; None: `source` is that table.
    """
    return connection.execute(_REPAIR, [table or source, list(row_ids), ID, source]).rowcount


def count_pending(connection: psycopg.Connection) -> int:
    """How many entries wait for repair."""
    (count,) = connection.execute("SELECT count(*) FROM quarantine WHERE status = 'pending'").fetchone() or (0,)
    return int(count)


def pending_ids(connection: psycopg.Connection, table: str | None = None) -> list[str]:
    """Ids of the rows meant for `table`, or for any, that wait for repair."""
    return [row_id for (row_id,) in connection.execute(_PENDING_IDS, [table, table])]


def list_pending(connection: psycopg.Connection, limit: int = 100) -> pd.DataFrame:
    """The entries that wait for repair, newest first: `ENTRY_COLUMNS`, `id` and `first_seen`."""
    rows = connection.execute(_LIST, [limit]).fetchall()
    return pd.DataFrame(rows, columns=["id", "first_seen", *ENTRY_COLUMNS])
