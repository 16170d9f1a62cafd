"""What the database holds, in a few numbers for people. Starts no server and creates nothing."""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cleverbetter_dagster.dataset.quality.rules import RUN_LEEWAY, WINDOW_LEEWAY
from cleverbetter_dagster.dataset.schema import CREATED_AT, END_DATE, RUN_DATE, START_DATE
from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger.table import Action, ledger_exists, select_champion
from cleverbetter_dagster.store.postgres.database import connect, running_target, table_exists
from cleverbetter_dagster.store.quarantine import count_pending
from cleverbetter_dagster.store.source.instants import plausible
from cleverbetter_dagster.store.source.layout import SourceLayout, resolve_source
from cleverbetter_dagster.store.source.tables import Relation, find_relation

TIMEOUT_MILLISECONDS = 1500
"""Of each query of the rows' tables: so long may others wait for it."""


@dataclass(frozen=True)
class TableSummary:
    """A table and its rows; `estimated`: counting took too long, so PostgreSQL's own estimate is given."""

    name: str
    rows: int
    estimated: bool


@dataclass(frozen=True)
class RowsSummary:
    """The two tables. Instants are UTC, None without a plausible one that is soon found.

    `newest` is when the last row arrived.
    """

    tables: tuple[TableSummary, ...]
    first_start: datetime | None
    last_end: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class ChampionSummary:
    """The champion, and the decision that made it so."""

    family: str
    version: int
    as_of: str
    action: Action
    decided_at: datetime

    def __str__(self) -> str:
        how = "returned to" if self.action == "rolled_back" else "promoted"
        since = f"{self.decided_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return f"{self.family} v{self.version} (as of {self.as_of}), {how} {since}"


@dataclass(frozen=True)
class DatabaseSummary:
    """The database, or as much of it as can be told: `rows` is None where `rows_missing` says why."""

    where: str
    version: str
    timescaledb: str | None
    rows: RowsSummary | None
    rows_missing: str | None
    champion: ChampionSummary | None
    quarantined: int


def summarise_database(settings: Settings) -> DatabaseSummary | None:
    """What is in the database; None where it is the embedded one, and that is down.

    Raises:
        DatabaseUnavailable: the configured one does not answer.
    """
    target = running_target(settings, "rows")
    if target is None:
        return None
    with closing(connect(target, autocommit=True)) as connection:
        version = connection.info.parameter_status("server_version") or "?"
        timescaledb = _scalar(connection, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        rows, missing = _rows(settings, connection)
    champion, quarantined = _state(settings)
    where = str(target) if settings.database_url else f"embedded, {target}"
    return DatabaseSummary(where, version, timescaledb, rows, missing, champion, quarantined)


def _rows(settings: Settings, connection: psycopg.Connection) -> tuple[RowsSummary | None, str | None]:
    if find_relation(connection, settings.results_table) is None:
        return None, f"no table {settings.results_table} yet; an import makes it: `cleverbetter import --help`"
    try:
        layout = resolve_source(settings)
    except SchemaError as error:
        return None, message_of(error)
    connection.execute(sql.SQL("SET statement_timeout = {}").format(TIMEOUT_MILLISECONDS))
    tables = tuple(_table(connection, relation) for relation in layout.relations)
    return RowsSummary(tables, *_instants(connection, layout)), None


def _table(connection: psycopg.Connection, relation: Relation) -> TableSummary:
    try:
        rows = _scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(relation.identifier))
        return TableSummary(str(relation), rows, estimated=False)
    except psycopg.errors.QueryCanceled:
        # A partitioned table or hypertable has its rows in the tables that inherit from it.
        estimate = """WITH RECURSIVE parts(oid) AS (SELECT %s::regclass::oid
                          UNION SELECT inhrelid FROM pg_inherits JOIN parts ON inhparent = parts.oid)
                      SELECT coalesce(sum(reltuples) FILTER (WHERE reltuples > 0), 0)::bigint
                      FROM pg_class JOIN parts USING (oid)"""
        rows = _scalar(connection, estimate, relation.identifier.as_string(connection))
        return TableSummary(str(relation), rows, estimated=True)


def _instants(connection: psycopg.Connection, layout: SourceLayout) -> tuple[datetime | None, ...]:
    arrived = CREATED_AT if CREATED_AT in layout.columns else RUN_DATE
    # Python has no infinity and no year before Christ, and one such row would hide the others.
    extremes = (
        (function, column, leeway, sql.Identifier(column.name))
        for function, column, leeway in (
            ("min", layout.columns[START_DATE], RUN_LEEWAY),
            ("max", layout.columns[END_DATE], WINDOW_LEEWAY),
            ("max", layout.columns[arrived], RUN_LEEWAY),
        )
    )
    # One query each: so that each can be answered by an index.
    queries = (
        sql.SQL("SELECT {}({value})::timestamptz FROM {} WHERE {}").format(
            sql.SQL(function), layout.results.identifier, plausible(value, column, leeway), value=value
        )
        for function, column, leeway, value in extremes
    )
    return tuple(_instant(connection, query) for query in queries)


def _instant(connection: psycopg.Connection, query: sql.Composed) -> datetime | None:
    try:
        instant: datetime | None = _scalar(connection, query)
    except psycopg.errors.QueryCanceled:
        return None
    return instant


def _state(settings: Settings) -> tuple[ChampionSummary | None, int]:
    """Champion and pending quarantine, without creating the schema they would be in."""
    target = running_target(settings, "state")
    if target is None:
        return None, 0
    with closing(connect(target, autocommit=True)) as connection:
        entry = select_champion(connection) if ledger_exists(connection) else None
        quarantined = count_pending(connection) if table_exists(connection, "quarantine") else 0
    if entry is None:
        return None, quarantined
    return ChampionSummary(*entry.model, entry.as_of, entry.action, entry.decided_at), quarantined


def _scalar(connection: psycopg.Connection, query: LiteralString | sql.Composed, *values: object) -> Any:
    row = connection.execute(query, values or None).fetchone()
    return row[0] if row else None
