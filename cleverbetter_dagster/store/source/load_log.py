"""Records what each load read, and which training run used it.

The run that loads rows writes here once they are in the artefact store. If it dies before that, its months still
count as changed. Whether a training succeeded is not recorded here: Dagster knows that of its own runs.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg.rows import class_row
from pydantic import TypeAdapter

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import ensure_table, psycopg_connect, table_exists
from cleverbetter_dagster.store.source.changes import Digest, InFlightRows, SnapshotId
from cleverbetter_dagster.store.source.table_state import TableState

TABLES = """
CREATE TABLE load_log (
    month text PRIMARY KEY CHECK (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    loaded jsonb NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE load_log IS 'One row per month of training_rows: digest of the rows it was loaded from, the run that '
    'loaded it, and the transaction id from which on the load did not see all rows.';

CREATE TABLE training_snapshots (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL UNIQUE,
    as_of text NOT NULL,
    content_hash text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE training_snapshots IS 'One row per run that trains on loaded rows: its month, and a hash of the '
    'digests of all months up to it.';
"""

COMPARED_TABLE = """
CREATE TABLE compared_state (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    compared jsonb NOT NULL
);
COMMENT ON TABLE compared_state IS 'What the two tables held when all months were last compared.';
"""

_REPLACE_COMPARED = """
INSERT INTO compared_state (compared) VALUES (%s) ON CONFLICT (only_one) DO UPDATE SET compared = excluded.compared"""

_UPSERT = """
INSERT INTO load_log (month, loaded) VALUES (%(month)s, %(loaded)s)
ON CONFLICT (month) DO UPDATE SET (loaded, loaded_at) = (excluded.loaded, excluded.loaded_at)"""

# Only while the log still holds the compared content: a run may have loaded the month again since.
_CONFIRM = """
UPDATE load_log
SET loaded = %(loaded)s::jsonb || jsonb_build_object('run_id', loaded -> 'run_id', 'due', loaded -> 'due',
    'categories', coalesce(loaded -> 'categories', '[]'))
WHERE month = %(month)s AND loaded -> 'digest' = %(loaded)s::jsonb -> 'digest'"""

_RECORD = """
INSERT INTO training_snapshots (run_id, as_of, content_hash) VALUES (%s, %s, %s)
ON CONFLICT (run_id) DO UPDATE SET (as_of, content_hash) = (excluded.as_of, excluded.content_hash)"""

EMPTY = Digest(0, "0")
"""The digest of a month without rows."""


@dataclass(frozen=True)
class LoadedMonth:
    """What a load, or a later comparison with the same content, saw of a month.

    Attributes:
        xmin_watermark: `digest` contains every row written by a transaction id below it.
        in_flight: the rows in `digest` that were written by ids at or above the watermark.
        versions: hash of the row versions, as `TableSnapshot.versions`; None where `xmin` cannot be read.
        due: when the first row that was left out, because it lies in the future, can be loaded.
        categories: market features that were read as categories.
        compared: the `ComparedState` whose comparison found this content; empty after a load.
    """

    digest: Digest
    identity: str
    xmin_watermark: int
    in_flight: InFlightRows
    run_id: str = ""
    versions: str | None = None
    due: datetime | None = None
    categories: tuple[str, ...] = ()
    compared: str = ""

    @classmethod
    def at(
        cls, snapshot_id: SnapshotId, digest: Digest, in_flight: InFlightRows, versions: str | None = None
    ) -> "LoadedMonth":
        """The month as a snapshot shows it."""
        return cls(digest, snapshot_id.identity, snapshot_id.xmin, in_flight, versions=versions)

    def is_comparable(self, snapshot_id: SnapshotId) -> bool:
        """True if transaction ids mean the same in the snapshot as they did when this month was read."""
        return self.identity == snapshot_id.identity and snapshot_id.can_compare(self.xmin_watermark)


@dataclass(frozen=True)
class TrainingSnapshot:
    """A run that trains on loaded rows. Later ones have a larger id."""

    id: int
    run_id: str


@dataclass(frozen=True)
class ComparedState:
    """The last comparison of all months.

    Attributes:
        name: of the comparison; months that it found equal to what was loaded bear it.
        unloaded: months with rows that were not in the load log.
    """

    name: str
    state: TableState
    unloaded: tuple[str, ...]


_LOADED_MONTH, _COMPARED_STATE = TypeAdapter(LoadedMonth), TypeAdapter(ComparedState)


def ensure_load_log(connection: psycopg.Connection) -> None:
    """Create the tables if they are missing."""
    ensure_table(connection, "load_log", TABLES)


def read_load_log(settings: Settings) -> dict[str, LoadedMonth]:
    """What is loaded of each month, in order of time; empty before the first load."""
    with psycopg_connect(settings, "state", autocommit=True) as connection:
        return _read(connection) if table_exists(connection, "load_log") else {}


def record_load(settings: Settings, months: Mapping[str, LoadedMonth], run_id: str, as_of: str | None) -> None:
    """Record that a run loaded these months, and trains on all months up to `as_of` (None: it only loads).

    All in one transaction. Recording the same run again replaces its record.
    """
    months = {month: replace(loaded, run_id=run_id) for month, loaded in months.items()}
    with _writing(settings, _UPSERT, months) as connection:
        if as_of is not None:
            connection.execute(_RECORD, [run_id, as_of, content_hash(_read(connection), as_of)])


def read_compared_state(settings: Settings) -> ComparedState | None:
    """The last comparison of all months; None if there was none, or none by which states could be told apart."""
    with psycopg_connect(settings, "state", autocommit=True) as connection:
        if not table_exists(connection, "compared_state"):
            return None
        row = connection.execute("SELECT compared FROM compared_state").fetchone()
    return _COMPARED_STATE.validate_python(row[0]) if row else None


def record_compared_state(settings: Settings, compared: ComparedState) -> None:
    """Record a comparison in place of the last one."""
    with psycopg_connect(settings, "state", autocommit=True) as connection:
        ensure_table(connection, "compared_state", COMPARED_TABLE)
        connection.execute(_REPLACE_COMPARED, [_COMPARED_STATE.dump_json(compared).decode()])


def confirm_loads(settings: Settings, months: Mapping[str, LoadedMonth]) -> None:
    """Move the watermarks of months in which a later snapshot found the same content."""
    if months:
        with _writing(settings, _CONFIRM, months):
            pass


def last_training_snapshot(
    settings: Settings, as_of: str | None = None, content: str | None = None
) -> TrainingSnapshot | None:
    """The latest run that trained: of all runs, or of those at a month whose rows had the content hash `content`."""
    query = """SELECT id, run_id FROM training_snapshots
        WHERE as_of = coalesce(%s, as_of) AND content_hash = coalesce(%s, content_hash) ORDER BY id DESC LIMIT 1"""
    with psycopg_connect(settings, "state", autocommit=True) as connection:
        if not table_exists(connection, "training_snapshots"):
            return None
        return connection.cursor(row_factory=class_row(TrainingSnapshot)).execute(query, [as_of, content]).fetchone()


def content_hash(months: Mapping[str, LoadedMonth], as_of: str) -> str:
    """A hash of the digests of all months up to `as_of`: equal for equal rows."""
    digests = [(month, loaded.digest) for month, loaded in sorted(months.items()) if month <= as_of]
    text = ";".join(f"{month} {digest.rows} {digest.content}" for month, digest in digests if digest.rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(connection: psycopg.Connection) -> dict[str, LoadedMonth]:
    rows = connection.execute("SELECT month, loaded FROM load_log ORDER BY month").fetchall()
    return {month: _LOADED_MONTH.validate_python(loaded) for month, loaded in rows}


@contextmanager
def _writing(
    settings: Settings, statement: LiteralString, months: Mapping[str, LoadedMonth]
) -> Iterator[psycopg.Connection]:
    """A transaction that begins with the statement for each month."""
    with psycopg_connect(settings, "state", autocommit=True) as connection:
        ensure_load_log(connection)
        values = [{"month": month, "loaded": _LOADED_MONTH.dump_json(held).decode()} for month, held in months.items()]
        with connection.transaction():
            connection.cursor().executemany(statement, values)
            yield connection
