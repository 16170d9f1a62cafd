"""The ledger's table: what a row is, the views that say who stands, and the statements on them. `ledger` decides.

Every function takes a connection of the purpose "state" that commits by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row
from pydantic_core import to_json

from cleverbetter_dagster.errors import DataError, RegistryError
from cleverbetter_dagster.store.postgres.database import ensure_table, table_exists

Action = Literal["promoted", "refused", "rolled_back"]

LAST_VIEW = "current_champion"
"""The last view that the DDL creates, in one transaction."""

DDL = """
CREATE TABLE promotions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    action text NOT NULL CHECK (action IN ('promoted', 'refused', 'rolled_back')),
    family text NOT NULL,
    version integer NOT NULL,
    run_id text NOT NULL,
    as_of text NOT NULL CHECK (as_of ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    previous_family text,
    previous_version integer,
    reason text NOT NULL,
    evidence jsonb NOT NULL,
    actor text NOT NULL,
    dagster_run_id text,
    CHECK ((previous_family IS NULL) = (previous_version IS NULL))
);
COMMENT ON TABLE promotions IS 'One row per decision about a model; family and version are those of the model it was '
    'about, for a rollback of the model returned to. Rows are never changed.';

CREATE FUNCTION promotions_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of promotions are never changed or deleted; record a new decision instead';
END $$;
CREATE TRIGGER promotions_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions
    FOR EACH STATEMENT EXECUTE FUNCTION promotions_are_final();

CREATE VIEW standing_champions AS
    SELECT p.* FROM promotions p
    WHERE p.action <> 'refused' AND NOT EXISTS (
        SELECT FROM promotions b
        WHERE b.action = 'rolled_back' AND b.id > p.id AND b.as_of <= p.as_of
            AND (b.as_of < p.as_of OR (b.previous_family, b.previous_version) = (p.family, p.version)));
CREATE VIEW current_champion AS SELECT * FROM standing_champions ORDER BY as_of DESC, id DESC LIMIT 1;
"""


@dataclass(frozen=True)
class Decision:
    """What is to be decided about a registered model, by whom and on what grounds.

    Attributes:
        reason: one sentence or a few lines for a person.
        actor: the asset, command or person that decides.
        evidence: facts JSON can hold: the compared metrics, their intervals, the verdict of the gate. NaN and
            infinity are kept as null.
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
    """One row. `previous_...` is the champion before it: of its as_of, for a rollback the champion withdrawn."""

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
class Reign:
    """A time during which one decision made *the* champion.

    Attributes:
        entry: that decision.
        since: when it came to stand last of all; later than it was made where a rollback brought it back.
        until: when another took its place; None: it is champion now.
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
    """The decision that made the champion of the month `as_of`; None asks for the last of all."""
    return _one(
        connection,
        """SELECT * FROM standing_champions WHERE as_of <= coalesce(%s, '9999-12')
           ORDER BY as_of DESC, id DESC LIMIT 1""",
        as_of,
    )


def select_predecessor(connection: psycopg.Connection) -> LedgerEntry | None:
    """The promotion of the model that was champion before the champion was promoted."""
    return _one(
        connection,
        """SELECT e.* FROM promotions e, LATERAL (
               SELECT p.previous_family AS family, p.previous_version AS version
               FROM promotions p JOIN current_champion c USING (family, version)
               WHERE p.action = 'promoted' ORDER BY p.id DESC LIMIT 1) before
           WHERE (e.family, e.version) = (before.family, before.version) AND e.action = 'promoted'
           ORDER BY e.id DESC LIMIT 1""",
    )


def select_withdrawn(connection: psycopg.Connection, model: tuple[str, int]) -> LedgerEntry | None:
    """The last promotion of a model that a rollback withdrew and nothing has put back; None for any other."""
    return _one(
        connection,
        """SELECT * FROM promotions p
           WHERE (family, version) = (%s, %s) AND action <> 'refused' AND NOT EXISTS (
               SELECT FROM standing_champions s WHERE (s.family, s.version) = (p.family, p.version))
           ORDER BY id DESC LIMIT 1""",
        *model,
    )


def select_promotion(connection: psycopg.Connection, model: tuple[str, int]) -> LedgerEntry | None:
    """The last promotion of a model, whether or not it stands; None where it never was promoted."""
    return _one(
        connection,
        """SELECT * FROM promotions WHERE (family, version) = (%s, %s) AND action = 'promoted'
           ORDER BY id DESC LIMIT 1""",
        *model,
    )


def select_judged(connection: psycopg.Connection, model: tuple[str, int], as_of: str) -> LedgerEntry | None:
    """The newest row by which a model was promoted or refused at an as_of."""
    return _one(
        connection,
        """SELECT * FROM promotions WHERE (family, version) = (%s, %s) AND as_of = %s AND action <> 'rolled_back'
           ORDER BY id DESC LIMIT 1""",
        *(*model, as_of),
    )


def select_reigns(connection: psycopg.Connection) -> list[Reign]:
    """Who was *the* champion when, oldest first: `standing_champions` as it was after each decision."""
    cursor = connection.cursor(row_factory=class_row(LedgerEntry))
    entries = {entry.id: entry for entry in cursor.execute("SELECT * FROM promotions WHERE action <> 'refused'")}
    found = connection.execute(
        """SELECT e.id, c.id FROM promotions e, LATERAL (
               SELECT p.id FROM promotions p
               WHERE p.id <= e.id AND p.action <> 'refused' AND NOT EXISTS (
                   SELECT FROM promotions b
                   WHERE b.action = 'rolled_back' AND b.id > p.id AND b.id <= e.id AND b.as_of <= p.as_of
                       AND (b.as_of < p.as_of OR (b.previous_family, b.previous_version) = (p.family, p.version)))
               ORDER BY p.as_of DESC, p.id DESC LIMIT 1) c
           WHERE e.action <> 'refused' ORDER BY e.id"""
    ).fetchall()
    changes = [pair for pair, before in zip(found, [(0, 0), *found], strict=False) if pair[1] != before[1]]
    ends = [*(entries[decided].decided_at for decided, _ in changes[1:]), None]
    return [
        Reign(entries[champion], entries[decided].decided_at, end)
        for (decided, champion), end in zip(changes, ends, strict=True)
    ]


def select_last(connection: psycopg.Connection, decision: Decision) -> LedgerEntry | None:
    """The newest row about the model of `decision` at its as_of."""
    return _one(
        connection,
        "SELECT * FROM promotions WHERE (family, version) = (%s, %s) AND as_of = %s ORDER BY id DESC LIMIT 1",
        *(*decision.model, decision.as_of),
    )


def select_history(connection: psycopg.Connection, limit: int) -> list[LedgerEntry]:
    """The newest rows, newest first."""
    cursor = connection.cursor(row_factory=class_row(LedgerEntry))
    return cursor.execute("SELECT * FROM promotions ORDER BY id DESC LIMIT %s", [limit]).fetchall()


def insert(
    connection: psycopg.Connection, action: Action, decision: Decision, previous: LedgerEntry | None
) -> LedgerEntry:
    """Add a row.

    Raises:
        DataError: the evidence holds an object JSON cannot.
    """
    try:
        evidence = to_json(decision.evidence, inf_nan_mode="null").decode()
    except ValueError as error:
        raise DataError(f"The evidence on {decision} is no JSON: {error}. Use plain numbers and texts.") from error
    family, version = previous.model if previous else (None, None)
    with connection.transaction():
        # A server may be set to confirm before a row is safe on disk; a decision about money must be.
        connection.execute("SET LOCAL synchronous_commit = on")
        entry = _one(
            connection,
            """INSERT INTO promotions (action, family, version, run_id, as_of, previous_family, previous_version,
                                       reason, evidence, actor, dagster_run_id)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *""",
            *(action, *decision.model, decision.run_id, decision.as_of, family, version),
            *(decision.reason, evidence, decision.actor, decision.dagster_run_id),
        )
    if entry is None:
        raise RegistryError(f"The database kept no row of the decision on {decision}; look for triggers or rules.")
    return entry


def _one(connection: psycopg.Connection, query: str, *values: object) -> LedgerEntry | None:
    return connection.cursor(row_factory=class_row(LedgerEntry)).execute(query, values).fetchone()
