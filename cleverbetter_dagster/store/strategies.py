"""The names of strategies, from a table that may be missing. Nothing but what is shown depends on them."""

from collections.abc import Collection
from typing import LiteralString

import psycopg
from psycopg import sql

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.transient import database_error
from cleverbetter_dagster.store.source.layout import relation_columns
from cleverbetter_dagster.store.source.tables import find_relation

KEYS = ("strategy_id", "id", "uuid")
"""Names that the table may use for the id of a strategy, best first."""

NAMES = ("name", "strategy_name", "display_name", "title")
"""Names that it may use for its name, best first."""

_NAMES = "SELECT {key}::text, min({name}::text) FROM {table} WHERE {key}::text = ANY({texts}) GROUP BY 1"
_NAMED = "SELECT DISTINCT {key}::text, {name}::text FROM {table} WHERE {name}::text = ANY({texts}) ORDER BY 1"


def strategy_names(settings: Settings, strategies: Collection[str]) -> dict[str, str]:
    """Strategy -> its name, of those among `strategies` that have one.

    Empty where there is no table of strategies (setting `strategies_table`), where it has no such columns, and where
    the role may not read them.

    Raises:
        DatabaseError: the database does not answer.
    """
    return {strategy: text for strategy, text in _selected(settings, _NAMES, strategies) if text}


def strategies_named(settings: Settings, name: str) -> list[str]:
    """The strategies of that name, sorted; none where `strategy_names` is empty."""
    return [strategy for strategy, _ in _selected(settings, _NAMED, [name])]


def _selected(settings: Settings, select: LiteralString, texts: Collection[str]) -> list[tuple[str, str]]:
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        relation = find_relation(connection, settings.strategies_table)
        columns = relation_columns(connection, relation) if relation else {}
        key, name = (next((one for one in wanted if one in columns), None) for wanted in (KEYS, NAMES))
        if relation is None or key is None or name is None:
            return []
        query = sql.SQL(select).format(
            key=sql.Identifier(key),
            name=sql.Identifier(name),
            table=relation.identifier,
            texts=sql.Literal([*texts]),
        )
        try:
            return connection.execute(query).fetchall()
        except psycopg.errors.InsufficientPrivilege:
            return []
        except psycopg.Error as error:
            raise database_error(error, f"Cannot read the names in {relation}") from None
