"""The ledger: every promotion, refusal and rollback, with its evidence. It decides who is champion.

Rows are only ever added. A champion stands at the month (`as_of`) its model stands at: the champion at M is the
model promoted with the largest as_of <= M, the later row where two share one, of those that no rollback has
withdrawn since. So months backfilled late, or in any order, find the champion of their own time and never unseat a
newer one. *The* champion is the one that stands last of all.

MLflow's alias mirrors that. The row is committed first and the alias moved then, both under one lock of the
database, so two decisions at once leave one champion; `reconcile` repairs the alias after a crash in between.

Deciding the same again adds no row: promoting the model that already stands at its as_of, or refusing a model for
the reason its last refusal gives, against the champion it was refused against, returns the row there is. Another
reason or another champion make a new decision and a new row.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC
from typing import Any, Protocol

import psycopg

from cleverbetter_dagster.errors import RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import table as ledger_table
from cleverbetter_dagster.store.ledger.table import Decision, LedgerEntry, Reign, ensure_ledger, ledger_exists
from cleverbetter_dagster.store.postgres.database import advisory_lock, psycopg_connect

DECISION_LOCK = "champion"

OUTDATED = "outdated"
"""Key of the evidence of a refusal whose verdict was reached against a champion of yesterday."""


class ChampionMirror(Protocol):
    """What shows the champion to the world: `registry.Registry`."""

    def set_champion(self, family: str, version: int) -> Any:
        """Make this version, and no other, the champion."""


def promote(
    settings: Settings,
    mirror: ChampionMirror,
    decision: Decision,
    judged_against: LedgerEntry | None,
    *,
    reinstate: bool = False,
) -> LedgerEntry:
    """Promote a model that was judged against the champion of its as_of.

    Args:
        judged_against: what `champion_at(settings, decision.as_of)` said when it was judged.
        reinstate: promote the model even though a rollback withdrew it, as only a person should.

    Returns:
        The row `promoted` (or `rolled_back`) by which the model stands, also if it was there already; or a row
        `refused`, where another champion stands at that as_of by now, or a rollback withdrew the model. Whether it
        became *the* champion depends on what stands at later months; ask `champion`.
    """
    with _deciding(settings) as connection:
        standing = ledger_table.select_champion(connection, decision.as_of)
        if standing is None or standing.model != decision.model:
            if _name(standing) != _name(judged_against):
                return _refuse(connection, _judged_too_early(decision, judged_against, standing), standing)
            if not reinstate and ledger_table.select_withdrawn(connection, decision.model):
                return _refuse(connection, _withdrawn(decision), standing)
            standing = ledger_table.insert(connection, "promoted", decision, standing)
        _mirror(connection, mirror)
        return standing


def refuse(settings: Settings, decision: Decision) -> LedgerEntry:
    """Record that a model was not promoted, for `decision.reason`. The champion stays."""
    with _deciding(settings) as connection:
        return _refuse(connection, decision, ledger_table.select_champion(connection, decision.as_of))


def roll_back(settings: Settings, mirror: ChampionMirror, decision: Decision) -> LedgerEntry:
    """Return to the model of `decision`: it becomes champion, and all that stand at later months are withdrawn.

    Raises:
        RegistryError: it is the champion already, or stands at a later month than the champion.
    """
    with _deciding(settings) as connection:
        current = ledger_table.select_champion(connection)
        if current is None or current.model == decision.model:
            raise RegistryError(f"Cannot roll back to {decision}: the champion is {_name(current)}.")
        if decision.as_of > current.as_of:
            raise RegistryError(
                f"Cannot roll back to {decision} of {decision.as_of}: the champion {current} stands at "
                f"{current.as_of}, which is earlier. Promote it instead."
            )
        entry = ledger_table.insert(connection, "rolled_back", decision, current)
        _mirror(connection, mirror)
        return entry


def reconcile(settings: Settings, mirror: ChampionMirror) -> LedgerEntry | None:
    """Mirror the champion again, as after a crash or a hand in MLflow's UI. An empty ledger changes nothing."""
    with _deciding(settings) as connection:
        return _mirror(connection, mirror)


def champion(settings: Settings) -> LedgerEntry | None:
    """The decision that made the champion what it is; None before the first promotion."""
    with _reading(settings) as connection:
        return ledger_table.select_champion(connection) if connection else None


def champion_at(settings: Settings, as_of: str) -> LedgerEntry | None:
    """The decision that made the champion of the month `as_of`, such as `2023-12`; None where there was none."""
    with _reading(settings) as connection:
        return ledger_table.select_champion(connection, as_of) if connection else None


def predecessor(settings: Settings) -> LedgerEntry | None:
    """The promotion of the champion's predecessor: what a rollback returns to unless told otherwise."""
    with _reading(settings) as connection:
        return ledger_table.select_predecessor(connection) if connection else None


def history(settings: Settings, limit: int = 100) -> list[LedgerEntry]:
    """The latest decisions, newest first."""
    with _reading(settings) as connection:
        return ledger_table.select_history(connection, limit) if connection else []


def reigns(settings: Settings) -> list[Reign]:
    """Which decision made *the* champion when, oldest first."""
    with _reading(settings) as connection:
        return ledger_table.select_reigns(connection) if connection else []


def promotion_of(settings: Settings, family: str, version: int) -> LedgerEntry | None:
    """The last promotion of a model, whether or not it stands by now; None where it never was promoted."""
    with _reading(settings) as connection:
        return ledger_table.select_promotion(connection, (family, version)) if connection else None


def last_judged(settings: Settings, family: str, version: int, as_of: str) -> LedgerEntry | None:
    """The newest promotion or refusal of a model at its as_of."""
    with _reading(settings) as connection:
        return ledger_table.select_judged(connection, (family, version), as_of) if connection else None


def champion_line(settings: Settings) -> str | None:
    """The champion in a line for people, such as `ensemble v3 (as of 2023-12), promoted 2024-01-02 10:11 UTC`."""
    entry = champion(settings)
    if entry is None:
        return None
    how = "returned to" if entry.action == "rolled_back" else "promoted"
    return f"{entry} (as of {entry.as_of}), {how} {entry.decided_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@contextmanager
def _deciding(settings: Settings) -> Iterator[psycopg.Connection]:
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        ensure_ledger(connection)
        with advisory_lock(connection, DECISION_LOCK):
            yield connection


@contextmanager
def _reading(settings: Settings) -> Iterator[psycopg.Connection | None]:
    """A connection; None where nothing was ever decided, since to look one needs no right to create tables."""
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        yield connection if ledger_exists(connection) else None


def _refuse(connection: psycopg.Connection, decision: Decision, standing: LedgerEntry | None) -> LedgerEntry:
    last = ledger_table.select_last(connection, decision)
    before = standing.model if standing else None
    if last and (last.action, last.reason, last.previous) == ("refused", decision.reason, before):
        return last
    return ledger_table.insert(connection, "refused", decision, standing)


def _mirror(connection: psycopg.Connection, mirror: ChampionMirror) -> LedgerEntry | None:
    current = ledger_table.select_champion(connection)
    if current is not None:
        mirror.set_champion(*current.model)
    return current


def _judged_too_early(decision: Decision, against: LedgerEntry | None, now: LedgerEntry | None) -> Decision:
    reason = (
        f"judged against {_name(against)}, but {_name(now)} is champion at {decision.as_of} by now; judge it again. "
        f"It would have been promoted: {decision.reason}"
    )
    return replace(decision, reason=reason, evidence={**decision.evidence, OUTDATED: True})


def _withdrawn(decision: Decision) -> Decision:
    reason = "a rollback withdrew this version; train it again, or promote it by hand to reinstate it"
    return replace(decision, reason=reason)


def _name(entry: LedgerEntry | None) -> str:
    return str(entry) if entry else "nobody"
