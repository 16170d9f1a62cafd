"""What was taken from the two tables: the content of each loaded month, and which run went on with which of it.

The run that loads the rows writes here, when they lie in the artefact store: whatever dies before that leaves the
months as changed as they were. Nothing here says that a training succeeded; Dagster knows that of its runs.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row, dict_row

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import advisory_lock, psycopg_connect
from cleverbetter_dagster.store.source.changes import Ahead, Digest, Moment

TABLES_LOCK = "taken tables"

DDL = """
CREATE TABLE IF NOT EXISTS loaded_months (
    month text PRIMARY KEY CHECK (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    rows bigint NOT NULL,
    newest timestamptz,
    content text NOT NULL,
    identity text NOT NULL,
    mark bigint NOT NULL,
    ahead_rows bigint NOT NULL,
    ahead_written text NOT NULL,
    run_id text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE loaded_months IS 'One row per month of training_rows: digest of the rows it was loaded from, and the '
    'transaction id from which on rows were not all seen then.';
ALTER TABLE loaded_months ADD COLUMN IF NOT EXISTS versions text, ADD COLUMN IF NOT EXISTS due timestamptz;

CREATE TABLE IF NOT EXISTS takings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL UNIQUE,
    as_of text NOT NULL,
    data_version text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE takings IS 'One row per run that went on from loaded rows to training: the month it stands at and a '
    'hash of the digests of all months up to it.';
"""

_UPSERT = """
INSERT INTO loaded_months
    (month, rows, newest, content, identity, mark, ahead_rows, ahead_written, versions, due, run_id)
VALUES (%(month)s, %(rows)s, %(newest)s, %(content)s, %(identity)s, %(mark)s, %(ahead_rows)s, %(ahead_written)s,
    %(versions)s, %(due)s, %(run_id)s)
ON CONFLICT (month) DO UPDATE SET
    (rows, newest, content, identity, mark, ahead_rows, ahead_written, versions, due, run_id, loaded_at)
    = (excluded.rows, excluded.newest, excluded.content, excluded.identity, excluded.mark, excluded.ahead_rows,
       excluded.ahead_written, excluded.versions, excluded.due, excluded.run_id, excluded.loaded_at)"""

# Only while it is still the content that was compared: a run may have loaded the month again meanwhile.
_CONFIRM = """
UPDATE loaded_months SET (identity, mark, ahead_rows, ahead_written, versions)
    = (%(identity)s, %(mark)s, %(ahead_rows)s, %(ahead_written)s, %(versions)s)
WHERE month = %(month)s AND (rows, content) = (%(rows)s, %(content)s)"""


EMPTY = Digest(0, None, "0")
"""A month without rows."""


@dataclass(frozen=True)
class MonthTaken:
    """What is loaded of a month, and from which moment on rows of it were not all seen.

    Attributes:
        mark: rows written by a transaction id below it are in `digest`; `ahead`: those past it that are, too.
        versions: of the rows in `digest`, as `Look.versions`; None where they cannot be told.
        due: when the first of the rows that were left out because they lie in the future can be loaded.
    """

    digest: Digest
    identity: str
    mark: int
    ahead: Ahead
    run_id: str = ""
    versions: str | None = None
    due: datetime | None = None

    @classmethod
    def at(cls, moment: Moment, digest: Digest, ahead: Ahead, versions: str | None = None) -> "MonthTaken":
        """What a look at `moment` saw."""
        return cls(digest, moment.identity, moment.xmin, ahead, versions=versions)

    def trusted_at(self, moment: Moment) -> bool:
        """Whether transaction ids of that moment mean what they meant when this was seen."""
        return self.identity == moment.identity and moment.reaches(self.mark)


@dataclass(frozen=True)
class Taking:
    """A run that went on to training with the months up to `as_of`, in the content `data_version`."""

    id: int
    run_id: str
    as_of: str
    data_version: str
    taken_at: datetime


def read_taken(settings: Settings) -> dict[str, MonthTaken]:
    """What is loaded of every month, in order of time; empty before the first load."""
    with _reading(settings) as connection:
        if connection is None:
            return {}
        rows = connection.cursor(row_factory=dict_row).execute("SELECT * FROM loaded_months ORDER BY month").fetchall()
    return {
        row["month"]: MonthTaken(
            Digest(row["rows"], row["newest"], row["content"]),
            row["identity"],
            row["mark"],
            Ahead(row["ahead_rows"], row["ahead_written"]),
            row["run_id"],
            row.get("versions"),  # a database of an earlier release has neither until it is written to
            row.get("due"),
        )
        for row in rows
    }


def record_taken(settings: Settings, months: Mapping[str, MonthTaken], run_id: str, as_of: str | None) -> None:
    """Say that the run has loaded these months, and goes on with all months up to `as_of` (None: it only loads).

    All of it in one transaction. Saying it again for the same run replaces what was said.
    """
    with _writing(settings) as connection, connection.transaction():
        values = [{**_values(month, taken), "run_id": run_id} for month, taken in months.items()]
        with connection.cursor() as cursor:
            cursor.executemany(_UPSERT, values)
        if as_of is not None:
            rows = connection.execute("SELECT month, rows, content FROM loaded_months WHERE month <= %s", [as_of])
            connection.execute(
                """INSERT INTO takings (run_id, as_of, data_version) VALUES (%s, %s, %s) ON CONFLICT (run_id)
                   DO UPDATE SET (as_of, data_version) = (excluded.as_of, excluded.data_version)""",
                [run_id, as_of, _hash(rows.fetchall())],
            )


def confirm_taken(settings: Settings, months: Mapping[str, MonthTaken]) -> None:
    """A later look found the same content in these months: from its moment on only newer rows count."""
    if not months:
        return
    with _writing(settings) as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_CONFIRM, [_values(month, taken) for month, taken in months.items()])


def last_taking(settings: Settings, as_of: str | None = None, version: str | None = None) -> Taking | None:
    """The latest run that went on to training: of all, or as of a month with its rows in one `data_version`."""
    with _reading(settings) as connection:
        if connection is None:
            return None
        return (
            connection.cursor(row_factory=class_row(Taking))
            .execute(
                """SELECT * FROM takings WHERE as_of = coalesce(%s, as_of) AND data_version = coalesce(%s, data_version)
                   ORDER BY id DESC LIMIT 1""",
                [as_of, version],
            )
            .fetchone()
        )


def data_version(months: Mapping[str, MonthTaken], as_of: str) -> str:
    """A hash of the digests of all months up to `as_of`: equal for equal rows."""
    kept = [(month, taken.digest.rows, taken.digest.content) for month, taken in months.items() if month <= as_of]
    return _hash(kept)


def _hash(months: list[tuple[str, int, str]]) -> str:
    text = ";".join(f"{month} {rows} {content}" for month, rows, content in sorted(months) if rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _values(month: str, taken: MonthTaken) -> dict[str, object]:
    return {
        "month": month,
        "rows": taken.digest.rows,
        "newest": taken.digest.newest,
        "content": taken.digest.content,
        "identity": taken.identity,
        "mark": taken.mark,
        "ahead_rows": taken.ahead.rows,
        "ahead_written": taken.ahead.written,
        "versions": taken.versions,
        "due": taken.due,
    }


@contextmanager
def _reading(settings: Settings) -> Iterator[psycopg.Connection | None]:
    """A connection; None where nothing was ever taken, since to look one needs no right to create tables."""
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        there = connection.execute("SELECT to_regclass('takings') IS NOT NULL").fetchone() == (True,)
        yield connection if there else None


@contextmanager
def _writing(settings: Settings) -> Iterator[psycopg.Connection]:
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        if not _up_to_date(connection):
            with advisory_lock(connection, TABLES_LOCK), connection.transaction():
                connection.execute(DDL)
        yield connection


def _up_to_date(connection: psycopg.Connection) -> bool:
    query = """SELECT to_regclass('takings') IS NOT NULL AND EXISTS (
        SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('loaded_months') AND attname = 'due')"""
    return connection.execute(query).fetchone() == (True,)
