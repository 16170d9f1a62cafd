"""Which tables the rows are in, and how their columns map onto the canonical rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from typing import Literal

import psycopg

from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    CREATED_AT,
    DATES,
    METHOD,
    OPTIONAL,
    REQUIRED,
    TEXTS,
)
from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.tables import (
    EMBEDDED_FEATURES,
    FEATURES_VARIABLE,
    RESULTS_VARIABLE,
    Relation,
    find_relation,
)

FEATURE_KEYS = ("backtest_result_id", "result_id", "backtest_id", "id")
"""Names the features table may give the id of the row it belongs to, best first."""

FEATURE_TIMES = ("computed_at", "updated_at", "created_at")
"""Names of the instant at which a features row was computed, best first; the newest counts."""

_CANONICAL = {*REQUIRED, *OPTIONAL, *chain.from_iterable(ALIASES.values())}

DecisionTime = Literal["end_date", "run_date"]

WORDS = ("text", "varchar", "bpchar", "citext", "name")
"""`pg_type` names of text."""

_NUMBERS = ("numeric", "float4", "float8", "int2", "int4", "int8")
_INSTANTS = ("timestamptz", "timestamp", "date")
JSON_KINDS = ("json", "jsonb")


@dataclass(frozen=True)
class Column:
    """A column as the database knows it. `kind` is the base type's name in `pg_type`."""

    name: str
    kind: str


@dataclass(frozen=True)
class FeatureTable:
    """Where market features are, a row or more per backtest row."""

    relation: Relation
    key: Column
    json: Column | None
    wide: tuple[Column, ...]
    computed_at: Column | None
    one_per_key: bool  # a unique index says so


@dataclass(frozen=True)
class SourceLayout:
    """How to read canonical rows from this database.

    Attributes:
        results: the results table.
        columns: canonical name -> column, for every canonical column that is there.
        embedded: the results table's own JSON column of market features, where it has one.
        features: the features table, where there is one. It wins over `embedded` where both have a key.
        decision_time: which canonical date a row's decision time is.
    """

    results: Relation
    columns: Mapping[str, Column]
    embedded: Column | None
    features: FeatureTable | None
    decision_time: DecisionTime

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The one or two tables that are read."""
        return (self.results, self.features.relation) if self.features else (self.results,)


def resolve_source(settings: Settings, decision_time: DecisionTime = "end_date") -> SourceLayout:
    """Find the two tables, check that they can serve, and say how.

    Raises:
        SchemaError: a table or a required column is missing, has the wrong type, or may not be read. The
            message names it, what was found instead, and the remedy.
    """
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        results = _found(connection, settings.results_table)
        if results is None:
            raise SchemaError(_no_table(connection, settings.results_table, RESULTS_VARIABLE))
        there = relation_columns(connection, results)
        columns = _canonical_columns(results, there)
        embedded = there.get(EMBEDDED_FEATURES)
        embedded = embedded if embedded and embedded.kind in JSON_KINDS else None
        features = _feature_table(connection, settings.features_table)
        if features is None and embedded is None:
            raise SchemaError(_no_table(connection, settings.features_table, FEATURES_VARIABLE))
        read = [*columns.values(), *([embedded] if embedded else [])]
        _check_readable(connection, results, read)
        if features:
            times = [features.computed_at] if features.computed_at else []
            json = [features.json] if features.json else []
            _check_readable(connection, features.relation, [features.key, *times, *json, *features.wide])
    return SourceLayout(results, columns, embedded, features, decision_time)


def relation_columns(connection: psycopg.Connection, relation: Relation) -> dict[str, Column]:
    """Name -> column of a relation, in its order; domains are seen as their base types."""
    rows = connection.execute(
        """
        SELECT a.attname, COALESCE(b.typname, t.typname)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
        WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
        """,
        [relation.identifier.as_string(connection)],
    ).fetchall()
    return {name: Column(name, kind) for name, kind in rows}


def unique_alone(connection: psycopg.Connection, relation: Relation, column: str) -> bool:
    """Whether a unique index says that no two rows share a value of `column`."""
    row = connection.execute(
        """
        SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
          AND i.indpred IS NULL AND a.attname = %s
        """,
        [relation.identifier.as_string(connection), column],
    ).fetchone()
    return row is not None


def _canonical_columns(results: Relation, there: Mapping[str, Column]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for canonical in (*REQUIRED, *OPTIONAL):
        names = ALIASES.get(canonical, (canonical,))
        found = next((there[name] for name in names if name in there), None)
        if found is None and canonical not in (METHOD, *OPTIONAL):
            raise SchemaError(_no_column(results, names, there))
        if found is not None:
            _check_kind(results, canonical, found)
            columns[canonical] = found
    return columns


def _check_kind(results: Relation, canonical: str, column: Column) -> None:
    if canonical in TEXTS:
        wanted: tuple[str, ...] = (*WORDS, "uuid", "int2", "int4", "int8")
    elif canonical in (*DATES, CREATED_AT):
        wanted = _INSTANTS
    else:
        wanted = (*_NUMBERS, *WORDS)  # numbers written as text are read, and quarantined where they are none
    if column.kind not in wanted:
        raise SchemaError(
            f"The column {column.name!r} of {results} has the type {column.kind}; needed is one of "
            f"{', '.join(wanted)}. Create a view that casts it, and name the view in {RESULTS_VARIABLE}."
        )


def _feature_table(connection: psycopg.Connection, name: str) -> FeatureTable | None:
    relation = _found(connection, name)
    if relation is None:
        return None
    there = relation_columns(connection, relation)
    key = next((there[name] for name in FEATURE_KEYS if name in there), None)
    if key is None:
        raise SchemaError(_no_column(relation, FEATURE_KEYS, there))
    json = _json_column(relation, there)
    times = (there[name] for name in FEATURE_TIMES if name in there and there[name].kind in _INSTANTS)
    wide = tuple(c for c in there.values() if c.kind in (*_NUMBERS, "bool") and c.name not in ("id", *FEATURE_KEYS))
    if json is None and not wide:
        raise SchemaError(
            f"The table {relation} has neither a JSON column nor a numeric column of market features. "
            f"It has: {_listed(there)}. Name another table in {FEATURES_VARIABLE}."
        )
    return FeatureTable(relation, key, json, wide, next(times, None), unique_alone(connection, relation, key.name))


def _json_column(relation: Relation, there: Mapping[str, Column]) -> Column | None:
    found = [column for column in there.values() if column.kind in JSON_KINDS]
    named = [column for column in found if column.name in ("features", EMBEDDED_FEATURES)]
    if len(found) > 1 and not named:
        raise SchemaError(
            f"The table {relation} has several JSON columns ({', '.join(c.name for c in found)}), none "
            "called 'features'. Create a view that has one of them as 'features', and name the view in "
            f"{FEATURES_VARIABLE}."
        )
    return next(iter(named or found), None)


def _found(connection: psycopg.Connection, name: str) -> Relation | None:
    """The relation, where there is one and the role may look at its columns."""
    relation = find_relation(connection, name)
    if relation is None:
        return None
    usable = connection.execute("SELECT has_schema_privilege(%s, 'USAGE')", [relation.schema]).fetchone()
    if usable != (True,):
        raise SchemaError(_no_right(connection, relation, "anything"))
    return relation


def _check_readable(connection: psycopg.Connection, relation: Relation, columns: Iterable[Column]) -> None:
    denied = connection.execute(
        "SELECT name FROM unnest(%s::text[]) name WHERE NOT has_column_privilege(%s, name, 'SELECT')",
        [[column.name for column in columns], relation.identifier.as_string(connection)],
    ).fetchall()
    if denied:
        raise SchemaError(_no_right(connection, relation, ", ".join(name for (name,) in denied)))


def _no_right(connection: psycopg.Connection, relation: Relation, what: str) -> str:
    user = connection.info.user
    return (
        f"The role {user!r} may not read {what} of {relation}. Let its owner run: "
        f"GRANT USAGE ON SCHEMA {relation.schema} TO {user}; GRANT SELECT ON {relation} TO {user}"
    )


def _no_table(connection: psycopg.Connection, name: str, variable: str) -> str:
    rows = connection.execute(
        """
        SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema|_?timescaledb)'
        ORDER BY 1
        """
    ).fetchall()
    there = [found for (found,) in rows]
    return (
        f"The table {name!r} ({variable}) is missing in the database {connection.info.dbname!r}, where "
        f"the role {connection.info.user!r} sees {_listed(there)}.{closest([name], there)} Set {variable} "
        "to its name, as schema.table where it is not on the search path; or run `cleverbetter import`, "
        "which creates it."
    )


def _no_column(relation: Relation, names: tuple[str, ...], there: Mapping[str, Column]) -> str:
    return (
        f"The table {relation} has no column {' or '.join(map(repr, names))}. It has: {_listed(there)}."
        f"{closest(names, there)} Create a view that calls it {names[0]!r}, and name the view in "
        f"{RESULTS_VARIABLE if names[0] in REQUIRED else FEATURES_VARIABLE}."
    )


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:40]) + (f" and {len(listed) - 40} more" if len(listed) > 40 else "") or "nothing"


def closest(names: Iterable[str], there: Iterable[str]) -> str:
    """The sentence that tells which of the names that are there are most like those wanted; empty where none is.

    >>> closest(["end_date"], ["start_date", "ended_date"])  # a start has a use of its own
    ' Closest: ended_date.'
    """
    free = [name for name in there if name not in _CANONICAL]
    close = dict.fromkeys(match for name in names for match in get_close_matches(name, free, n=2))
    return f" Closest: {', '.join(close)}." if close else ""
