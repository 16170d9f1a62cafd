"""The ledger: every promotion, refusal and rollback, with its evidence. It says who is champion.

Rows are only added. Each model has a month, its as_of. The champion at a month M is the promoted model with the latest
as_of that is not after M, leaving out those a rollback has withdrawn; if two have the same as_of, the one decided
later counts. So a month that is backfilled late finds the champion of its own time and never replaces a newer one.
*The* champion is that of the last month.

MLflow's alias `champion` follows. The row is committed first and the alias moved then, both under one lock of the
database, so two decisions at once leave one champion. `restore_alias` repairs the alias after a crash in between.

The same decision again adds no row: promoting the model that is champion of its as_of, or refusing a model for the
reason of its last refusal, against the same champion, returns the row there is.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import psycopg

from cleverbetter_dagster.errors import RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import table
from cleverbetter_dagster.store.ledger.table import Decision, LedgerEntry, Tenure, ensure_ledger, ledger_exists
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.locks import advisory_lock

DECISION_LOCK = "champion"

OUTDATED = "outdated"
"""Key in the evidence of a refusal whose verdict was reached against a former champion."""

T = TypeVar("T")


class ChampionAlias(Protocol):
    """What shows the champion to the world: `registry.Registry`."""

    def set_champion(self, family: str, version: int) -> Any:
        """Make this version, and no other, the champion."""


def promote(
    settings: Settings,
    alias: ChampionAlias,
    decision: Decision,
    judged_against: LedgerEntry | None,
    *,
    reinstate: bool = False,
) -> LedgerEntry:
    """Promote a model that was judged against the champion of its as_of.

    Args:
        judged_against: what `champion_at(settings, decision.as_of)` returned when the model was judged.
        reinstate: promote the model even if a rollback withdrew it. Only a person should decide that.

    Returns:
        The row `promoted` or `rolled_back` that makes the model champion of its as_of, which may be an earlier row.
        Or a row `refused`, if another model is champion there now or a rollback withdrew this one. It becomes *the*
        champion only if no later month has one; ask `champion`.
    """
    with _deciding(settings) as connection:
        incumbent = table.select_champion(connection, decision.as_of)
        if incumbent is None or incumbent.model != decision.model:
            if _name(incumbent) != _name(judged_against):
                return _refuse(connection, _judged_too_early(decision, judged_against, incumbent), incumbent)
            if not reinstate and _is_withdrawn(connection, decision):
                reason = "a rollback withdrew this version; train it again, or promote it by hand to reinstate it"
                return _refuse(connection, replace(decision, reason=reason), incumbent)
            incumbent = table.insert(connection, "promoted", decision, incumbent)
        _set_alias(connection, alias)
        return incumbent


def refuse(settings: Settings, decision: Decision) -> LedgerEntry:
    """Record that a model was not promoted, for `decision.reason`. The champion stays."""
    with _deciding(settings) as connection:
        return _refuse(connection, decision, table.select_champion(connection, decision.as_of))


def roll_back(settings: Settings, alias: ChampionAlias, decision: Decision) -> LedgerEntry:
    """Return to the model of `decision`: it becomes champion, and all models of later months are withdrawn.

    Raises:
        RegistryError: it is the champion already, or its month is later than the champion's.
    """
    with _deciding(settings) as connection:
        current = table.select_champion(connection)
        if current is None or current.model == decision.model:
            raise RegistryError(f"Cannot roll back to {decision}: the champion is {_name(current)}.")
        if decision.as_of > current.as_of:
            raise RegistryError(
                f"Cannot roll back to {decision} as of {decision.as_of}: the champion {current} is as of "
                f"{current.as_of}, which is earlier. Promote it instead."
            )
        entry = table.insert(connection, "rolled_back", decision, current)
        _set_alias(connection, alias)
        return entry


def restore_alias(settings: Settings, alias: ChampionAlias) -> LedgerEntry | None:
    """Set the alias of the champion again, as after a crash or a change in MLflow's UI. Without a champion it stays."""
    with _deciding(settings) as connection:
        return _set_alias(connection, alias)


def champion(settings: Settings) -> LedgerEntry | None:
    """The decision that made *the* champion; None before the first promotion."""
    return _read(settings, table.select_champion, None)


def champion_at(settings: Settings, as_of: str) -> LedgerEntry | None:
    """The decision that made the champion of the month `as_of`, such as `2023-12`; None if there was none."""
    return _read(settings, lambda connection: table.select_champion(connection, as_of), None)


def predecessor(settings: Settings) -> LedgerEntry | None:
    """The promotion of the champion's predecessor, to which a rollback returns by default."""
    current = champion(settings)
    made = promotion_of(settings, *current.model) if current else None
    return promotion_of(settings, *made.previous) if made and made.previous else None


def history(settings: Settings, limit: int = 100) -> list[LedgerEntry]:
    """The latest decisions, newest first."""
    return _read(settings, lambda connection: table.select_history(connection, limit), [])


def tenures(settings: Settings) -> list[Tenure]:
    """Who was *the* champion when, oldest first."""
    return _read(settings, table.select_tenures, [])


def promotion_of(settings: Settings, family: str, version: int) -> LedgerEntry | None:
    """The last promotion of a model, also if it was withdrawn; None if it was never promoted."""
    return _read(settings, lambda connection: table.select_latest(connection, (family, version), "promoted"), None)


def last_judged(settings: Settings, family: str, version: int, as_of: str) -> LedgerEntry | None:
    """The newest promotion or refusal of a model at its as_of."""
    model = (family, version)
    return _read(settings, lambda it: table.select_latest(it, model, "promoted", "refused", as_of=as_of), None)


@contextmanager
def _deciding(settings: Settings) -> Iterator[psycopg.Connection]:
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        ensure_ledger(connection)
        with advisory_lock(connection, DECISION_LOCK):
            yield connection


def _read(settings: Settings, select: Callable[[psycopg.Connection], T], default: T) -> T:
    """What `select` reads; the default before the first decision, because reading needs no right to create tables."""
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        return select(connection) if ledger_exists(connection) else default


def _refuse(connection: psycopg.Connection, decision: Decision, incumbent: LedgerEntry | None) -> LedgerEntry:
    last = table.select_latest(connection, decision.model, "promoted", "refused", "rolled_back", as_of=decision.as_of)
    before = incumbent.model if incumbent else None
    if last and (last.action, last.reason, last.previous) == ("refused", decision.reason, before):
        return last
    return table.insert(connection, "refused", decision, incumbent)


def _set_alias(connection: psycopg.Connection, alias: ChampionAlias) -> LedgerEntry | None:
    current = table.select_champion(connection)
    if current is not None:
        alias.set_champion(*current.model)
    return current


def _is_withdrawn(connection: psycopg.Connection, decision: Decision) -> bool:
    """Whether a rollback withdrew the model and nothing has reinstated it since."""
    promoted = table.select_latest(connection, decision.model, "promoted", "rolled_back")
    return promoted is not None and decision.model not in [entry.model for entry in table.select_incumbents(connection)]


def _judged_too_early(decision: Decision, against: LedgerEntry | None, now: LedgerEntry | None) -> Decision:
    reason = (
        f"judged against {_name(against)}, but {_name(now)} is champion at {decision.as_of} by now; judge it again. "
        f"It would have been promoted: {decision.reason}"
    )
    return replace(decision, reason=reason, evidence={**decision.evidence, OUTDATED: True})


def _name(entry: LedgerEntry | None) -> str:
    return str(entry) if entry else "none"
