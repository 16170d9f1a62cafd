"""Finds the tables that hold the rows, and maps their columns to the canonical rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import psycopg

from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    CREATED_AT,
    DATES,
    END_DATE,
    JSON_FEATURES,
    METHOD,
    OPTIONAL,
    REQUIRED,
    TEXTS,
)
from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.session import server_encoding
from cleverbetter_dagster.store.source.column_names import CANONICAL, missing_columns
from cleverbetter_dagster.store.source.tables import (
    EMBEDDED_FEATURES,
    FEATURES_VARIABLE,
    RESULTS_VARIABLE,
    Relation,
    find_relation,
)

FEATURE_KEYS = ("backtest_result_id", "result_id", "backtest_id", "id")
"""Names the features table may use for the id of its backtest row, best first."""

FEATURE_TIMES = ("computed_at", "updated_at", "created_at")
"""Names of the instant at which a features row was computed, best first. The newest row counts."""

WORDS = ("text", "varchar", "bpchar", "citext", "name")
"""`pg_type` names of text."""

NUMBERS = ("numeric", "float4", "float8", "int2", "int4", "int8")
"""`pg_type` names of numbers."""

INSTANTS = ("timestamptz", "timestamp", "date")
"""`pg_type` names of dates and instants."""

JSON_KINDS = ("json", "jsonb")


@dataclass(frozen=True)
class Column:
    """A column of a relation. `kind` is its base type's name in `pg_type`."""

    name: str
    kind: str


@dataclass(frozen=True)
class FeatureTable:
    """The table of market features, with one or more rows for each backtest row.

    Attributes:
        wide: numeric columns, a feature each.
        texts: columns of other types, whose values may be numbers as text. None beside a JSON column: there they
            describe the row.
    """

    relation: Relation
    key: Column
    json: Column | None
    wide: tuple[Column, ...]
    texts: tuple[Column, ...]
    computed_at: Column | None
    one_per_key: bool  # a unique index says so


@dataclass(frozen=True)
class SourceLayout:
    """How to read canonical rows from this database.

    Attributes:
        columns: canonical name -> column of the results table, for every canonical column it has.
        embedded: the results table's own JSON column of market features, if it has one.
        features: the features table, if there is one. It wins over `embedded` if both have a key.
        any_bytes: the database's encoding is SQL_ASCII, so that a text may be no UTF-8.
        left_out_methods: rows of these methods are no backtests; they count as if they were not there.
    """

    results: Relation
    columns: Mapping[str, Column]
    embedded: Column | None
    features: FeatureTable | None
    any_bytes: bool = False
    left_out_methods: tuple[str, ...] = ()

    @property
    def window_end(self) -> Column:
        """The column whose month a row belongs to."""
        return self.columns[END_DATE]

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The one or two tables that are read."""
        return (self.results, self.features.relation) if self.features else (self.results,)


def resolve_source(settings: Settings) -> SourceLayout:
    """Find the two tables and check that rows can be read from them.

    Raises:
        SchemaError: a table or a required column is missing, has the wrong type, or may not be read. The message
            names it, what is there instead, and the remedy.
    """
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        results = _find_usable(connection, settings.results_table)
        if results is None:
            raise SchemaError(_no_table(connection, settings.results_table, RESULTS_VARIABLE))
        available = relation_columns(connection, results)
        columns = _canonical_columns(results, available)
        embedded = available.get(EMBEDDED_FEATURES)
        embedded = embedded if embedded and embedded.kind in JSON_KINDS else None
        features = _feature_table(connection, settings.features_table)
        if features is None and embedded is None:
            raise SchemaError(_no_table(connection, settings.features_table, FEATURES_VARIABLE))
        _check_readable(connection, results, [*columns.values(), embedded])
        if features:
            read = [features.key, features.computed_at, features.json, *features.wide]
            _check_readable(connection, features.relation, read)
        any_bytes = server_encoding(connection) == "SQL_ASCII"
        left_out = settings.left_out_methods if METHOD in columns else ()
        return SourceLayout(results, columns, embedded, features, any_bytes, left_out)


def relation_columns(connection: psycopg.Connection, relation: Relation) -> dict[str, Column]:
    """Name -> column of a relation, in its order. A domain counts as its base type."""
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
    """True if a unique index forbids two rows with one value of `column`."""
    found = connection.execute(
        """
        SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
          AND i.indpred IS NULL AND a.attname = %s
        """,
        [relation.identifier.as_string(connection), column],
    )
    return found.fetchone() is not None


def _canonical_columns(results: Relation, available: Mapping[str, Column]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for canonical in (*REQUIRED, *OPTIONAL):
        column = next((available[name] for name in ALIASES.get(canonical, (canonical,)) if name in available), None)
        if column is not None:
            columns[canonical] = column
    if missing := [name for name in REQUIRED if name not in columns and name != METHOD]:
        raise SchemaError(
            f"The table {results} lacks columns that backtest rows need:{missing_columns(missing, list(available))}\n"
            f"It has: {_listed(available)}. Create a view that calls them so, and name the view in {RESULTS_VARIABLE}."
        )
    for canonical, column in columns.items():
        _check_kind(results, canonical, column)
    return columns


def _check_kind(results: Relation, canonical: str, column: Column) -> None:
    if canonical in TEXTS:
        wanted: tuple[str, ...] = (*WORDS, "uuid", "int2", "int4", "int8")
    elif canonical in (*DATES, CREATED_AT):
        wanted = INSTANTS
    else:
        wanted = (*NUMBERS, *WORDS)  # text is read as a number, and quarantined if it is none
    if column.kind not in wanted:
        raise SchemaError(
            f"The column {column.name!r} of {results} has the type {column.kind}; needed is one of "
            f"{', '.join(wanted)}. Create a view that casts it, and name the view in {RESULTS_VARIABLE}."
        )


def _feature_table(connection: psycopg.Connection, name: str) -> FeatureTable | None:
    relation = _find_usable(connection, name)
    if relation is None:
        return None
    columns = relation_columns(connection, relation)
    key = next((columns[name] for name in FEATURE_KEYS if name in columns), None)
    if key is None:
        raise SchemaError(_no_column(relation, FEATURE_KEYS, columns))
    json = _json_column(relation, columns)
    times = (columns[name] for name in FEATURE_TIMES if name in columns and columns[name].kind in INSTANTS)
    others = [c for c in columns.values() if c.name not in ("id", *FEATURE_KEYS)]
    wide = tuple(c for c in others if c.kind in (*NUMBERS, "bool"))
    texts = tuple(c for c in others if c not in wide and c.name not in (*FEATURE_TIMES, *CANONICAL))
    if json is None and not wide and not any(c.kind in WORDS for c in texts):
        raise SchemaError(
            f"The table {relation} has neither a JSON column nor a numeric column of market features. "
            f"It has: {_listed(columns)}. Name another table in {FEATURES_VARIABLE}."
        )
    texts = () if json else _readable(connection, relation, texts)
    one_per_key = unique_alone(connection, relation, key.name)
    return FeatureTable(relation, key, json, wide, texts, next(times, None), one_per_key)


def _json_column(relation: Relation, columns: Mapping[str, Column]) -> Column | None:
    json = [column for column in columns.values() if column.kind in JSON_KINDS]
    named = [column for column in json if column.name in JSON_FEATURES]
    if len(json) > 1 and not named:
        raise SchemaError(
            f"The table {relation} has several JSON columns ({', '.join(c.name for c in json)}), none "
            "called 'features'. Create a view that has one of them as 'features', and name the view in "
            f"{FEATURES_VARIABLE}."
        )
    return next(iter(named or json), None)


def _find_usable(connection: psycopg.Connection, name: str) -> Relation | None:
    """The relation; None if there is none. Checks that the role may use its schema."""
    relation = find_relation(connection, name)
    if relation is None:
        return None
    usable = connection.execute("SELECT has_schema_privilege(%s, 'USAGE')", [relation.schema]).fetchone()
    if usable != (True,):
        raise SchemaError(_no_right(connection, relation, "anything"))
    return relation


def _check_readable(connection: psycopg.Connection, relation: Relation, columns: Iterable[Column | None]) -> None:
    needed = [column for column in columns if column]
    readable = _readable(connection, relation, needed)
    if denied := [column.name for column in needed if column not in readable]:
        raise SchemaError(_no_right(connection, relation, ", ".join(denied)))


def _readable(connection: psycopg.Connection, relation: Relation, columns: Iterable[Column]) -> tuple[Column, ...]:
    by_name = {column.name: column for column in columns}
    rows = connection.execute(
        "SELECT name FROM unnest(%s::text[]) name WHERE has_column_privilege(%s, name, 'SELECT')",
        [list(by_name), relation.identifier.as_string(connection)],
    )
    return tuple(by_name[name] for (name,) in rows)


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
    available = [table for (table,) in rows]
    return (
        f"The table {name!r} ({variable}) is missing in the database {connection.info.dbname!r}, where "
        f"the role {connection.info.user!r} sees {_listed(available)}.{closest([name], available)} Set {variable} "
        "to its name, as schema.table if it is not on the search path; or import rows, which makes "
        "it: `cleverbetter import --help`."
    )


def _no_column(relation: Relation, names: tuple[str, ...], available: Mapping[str, Column]) -> str:
    return (
        f"The table {relation} has no column {' or '.join(map(repr, names))}. It has: {_listed(available)}."
        f"{closest(names, available)} Create a view that calls it {names[0]!r}, and name the view in "
        f"{FEATURES_VARIABLE}."
    )


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:40]) + (f" and {len(listed) - 40} more" if len(listed) > 40 else "") or "nothing"


def closest(wanted: Iterable[str], available: Iterable[str]) -> str:
    """A sentence with the available names most like the wanted ones; empty if no name is similar.

    >>> closest(["backtest_result_id"], ["backtest_id", "win_rate"])
    ' Closest: backtest_id.'
    """
    free = [name for name in available if name not in CANONICAL]
    close = dict.fromkeys(match for name in wanted for match in get_close_matches(name, free, n=2))
    return f" Closest: {', '.join(close)}." if close else ""
