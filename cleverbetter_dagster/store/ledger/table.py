"""The table of the ledger: a row is one decision about a model. Here are its statements; `ledger` decides.

Every function takes a connection of the purpose "state" that commits by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from pydantic_core import to_json

from cleverbetter_dagster.errors import DataError, RegistryError
from cleverbetter_dagster.store.postgres.database import ensure_table, table_exists

Action = Literal["promoted", "refused", "rolled_back"]

LAST_VIEW = "current_champion"
"""The last view that the DDL creates, in one transaction."""

# A rollback withdraws every model of a later month, and the champion it came from. `until` is the last row to count.
INCUMBENTS = sql.SQL("""
    SELECT p.* FROM promotions p
    WHERE p.id <= {until} AND p.action <> 'refused' AND NOT EXISTS (
        SELECT FROM promotions b
        WHERE b.id <= {until} AND b.action = 'rolled_back' AND b.id > p.id AND b.as_of <= p.as_of
            AND (b.as_of < p.as_of OR (b.previous_family, b.previous_version) = (p.family, p.version)))
    ORDER BY p.as_of DESC, p.id DESC""")
TODAY = sql.SQL("9223372036854775807")

DDL = sql.SQL("""
CREATE TABLE promotions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    action text NOT NULL CHECK (action IN ('promoted', 'refused', 'rolled_back')),
    family text NOT NULL,
    version integer NOT NULL,
    run_id text NOT NULL,
    as_of text NOT NULL CHECK (as_of ~ '^[0-9]{{4}}-(0[1-9]|1[0-2])$'),
    previous_family text,
    previous_version integer,
    reason text NOT NULL,
    evidence jsonb NOT NULL,
    actor text NOT NULL,
    dagster_run_id text,
    CHECK ((previous_family IS NULL) = (previous_version IS NULL))
);
COMMENT ON TABLE promotions IS 'One row per decision about a model. After a rollback, family and version are those of '
    'the model returned to. Rows are never changed.';

CREATE FUNCTION promotions_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of promotions are never changed or deleted; record a new decision instead';
END $$;
CREATE TRIGGER promotions_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions
    FOR EACH STATEMENT EXECUTE FUNCTION promotions_are_final();

CREATE VIEW current_champion AS {incumbents} LIMIT 1;
""").format(incumbents=INCUMBENTS.format(until=TODAY))


@dataclass(frozen=True)
class Decision:
    """A decision about a registered model.

    Attributes:
        reason: one sentence or a few lines for a person.
        actor: the asset, command or person that decides.
        evidence: JSON values: the compared metrics, their intervals, the gate's verdict. NaN and infinity become null.
    """

    family: str
    version: int
    run_id: str
    as_of: str
    reason: str
    actor: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    dagster_run_id: str | None = None

    @property
    def model(self) -> tuple[str, int]:
        """Family and version."""
        return self.family, self.version

    def __str__(self) -> str:
        return f"{self.family} v{self.version}"


@dataclass(frozen=True, kw_only=True)
class LedgerEntry(Decision):
    """One row. `previous_...` is the champion before it: of its as_of, or for a rollback the champion withdrawn."""

    id: int
    decided_at: datetime
    action: Action
    previous_family: str | None
    previous_version: int | None

    __str__ = Decision.__str__

    @property
    def previous(self) -> tuple[str, int] | None:
        """Family and version of the champion before, if there was one."""
        if self.previous_family is None or self.previous_version is None:
            return None
        return self.previous_family, self.previous_version


@dataclass(frozen=True)
class Tenure:
    """A time during which one model was *the* champion.

    Attributes:
        entry: the decision that made it champion.
        since: when it became champion; later than the decision if a rollback brought it back.
        until: when another took its place; None: it is the champion.
    """

    entry: LedgerEntry
    since: datetime
    until: datetime | None


def ensure_ledger(connection: psycopg.Connection) -> None:
    """Create the table and its views if they are missing."""
    ensure_table(connection, LAST_VIEW, DDL)


def ledger_exists(connection: psycopg.Connection) -> bool:
    """Whether anything can have been decided."""
    return table_exists(connection, LAST_VIEW)


def select_champion(connection: psycopg.Connection, as_of: str | None = None) -> LedgerEntry | None:
    """The decision that made the champion of the month `as_of`; None: that made *the* champion."""
    incumbents = select_incumbents(connection)
    return next((entry for entry in incumbents if as_of is None or entry.as_of <= as_of), None)


def select_incumbents(connection: psycopg.Connection) -> list[LedgerEntry]:
    """The promotions and rollbacks that no later rollback withdrew, the last month's first."""
    return _cursor(connection).execute(INCUMBENTS.format(until=TODAY)).fetchall()


def select_latest(
    connection: psycopg.Connection, model: tuple[str, int], *actions: Action, as_of: str | None = None
) -> LedgerEntry | None:
    """The newest row about a model with one of the actions; only at `as_of`, if that is given."""
    query = """SELECT * FROM promotions
               WHERE (family, version) = (%s, %s) AND action = ANY(%s) AND as_of = coalesce(%s, as_of)
               ORDER BY id DESC LIMIT 1"""
    return _cursor(connection).execute(query, [*model, list(actions), as_of]).fetchone()


def select_tenures(connection: psycopg.Connection) -> list[Tenure]:
    """Who was *the* champion when, oldest first."""
    query = sql.SQL("""
        SELECT c.*, e.decided_at AS since FROM promotions e, LATERAL ({incumbents} LIMIT 1) c
        WHERE e.action <> 'refused' ORDER BY e.id""").format(incumbents=INCUMBENTS.format(until=sql.SQL("e.id")))
    tenures: list[Tenure] = []
    for row in connection.cursor(row_factory=psycopg.rows.dict_row).execute(query):
        since = row.pop("since")
        entry = LedgerEntry(**row)
        if tenures and tenures[-1].entry == entry:
            continue
        if tenures:
            tenures[-1] = replace(tenures[-1], until=since)
        tenures.append(Tenure(entry, since, None))
    return tenures


def select_history(connection: psycopg.Connection, limit: int) -> list[LedgerEntry]:
    """The newest rows, newest first."""
    return _cursor(connection).execute("SELECT * FROM promotions ORDER BY id DESC LIMIT %s", [limit]).fetchall()


def insert(
    connection: psycopg.Connection, action: Action, decision: Decision, previous: LedgerEntry | None
) -> LedgerEntry:
    """Add a row.

    Raises:
        DataError: the evidence holds an object that JSON cannot hold.
    """
    try:
        evidence = to_json(decision.evidence, inf_nan_mode="null").decode()
    except ValueError as error:
        raise DataError(f"The evidence on {decision} is no JSON: {error}. Use plain numbers and texts.") from error
    family, version = previous.model if previous else (None, None)
    with connection.transaction():
        # A server may be set to confirm before a row is safe on disk; a decision about money must be safe.
        connection.execute("SET LOCAL synchronous_commit = on")
        query = """INSERT INTO promotions (action, family, version, run_id, as_of, previous_family, previous_version,
                                           reason, evidence, actor, dagster_run_id)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *"""
        values = (action, *decision.model, decision.run_id, decision.as_of, family, version)
        texts = (decision.reason, evidence, decision.actor, decision.dagster_run_id)
        entry = _cursor(connection).execute(query, [*values, *texts]).fetchone()
    if entry is None:
        raise RegistryError(f"The database kept no row of the decision on {decision}; look for triggers or rules.")
    return entry


def _cursor(connection: psycopg.Connection) -> psycopg.Cursor[LedgerEntry]:
    return connection.cursor(row_factory=class_row(LedgerEntry))
