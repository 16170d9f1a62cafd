"""The two tables that rows come from, created if they are missing. An existing table is never altered.

How the columns of existing tables map to the canonical rows is in `layout`.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from cleverbetter_dagster.dataset.schema import EMBEDDED_FEATURES
from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import has_timescaledb, psycopg_connect
from cleverbetter_dagster.store.postgres.locks import advisory_lock

RESULTS_VARIABLE = "CLEVERBETTER_RESULTS_TABLE"
FEATURES_VARIABLE = "CLEVERBETTER_FEATURES_TABLE"
_TABULAR = ("r", "p", "v", "m", "f")  # table, partitioned table, view, materialized view, foreign table

_RESULTS = """
CREATE TABLE {table} (
    id text NOT NULL,
    strategy_id text NOT NULL,
    run_date timestamptz NOT NULL,
    start_date timestamptz NOT NULL,
    end_date timestamptz NOT NULL,
    initial_capital double precision,
    final_capital double precision,
    total_return double precision NOT NULL,
    sharpe_ratio double precision NOT NULL,
    max_drawdown double precision NOT NULL,
    total_bets bigint NOT NULL,
    win_rate double precision NOT NULL,
    profit_factor double precision NOT NULL,
    method text NOT NULL DEFAULT '',
    composite_score double precision NOT NULL,
    recommendation text,
    created_at timestamptz NOT NULL DEFAULT now(),
    full_results jsonb,
    {embedded} jsonb,
    PRIMARY KEY ({key})
)"""

_FEATURES = """
CREATE TABLE {table} (
    backtest_result_id text PRIMARY KEY,
    computed_at timestamptz,
    features jsonb NOT NULL
)"""

# A chunk is a week by default. Years of rows would be hundreds of tables, and every query is planned over all of them.
_HYPERTABLE = """
SELECT create_hypertable(%s, 'run_date', chunk_time_interval => interval '365 days', create_default_indexes => false)"""

_INDEXED = (("end_date",), ("run_date",), ("created_at",), ("strategy_id", "method", "start_date"))


@dataclass(frozen=True)
class Relation:
    """A table, view or foreign table by its schema and name."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


def ensure_source_tables(settings: Settings) -> tuple[Relation, ...]:
    """Create the results table and the features table if they are missing. Returns the created ones.

    If both exist, the role only needs to read the catalogue. No features table is created beside a results table that
    has its own JSON column of market features.

    Raises:
        SchemaError: one is missing and the role may not create it.
    """
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        if not _missing(connection, settings):
            return ()
        with advisory_lock(connection, "source tables"):
            created = [_created(connection, name, ddl) for name, ddl in _missing(connection, settings).items()]
    return tuple(created)


def find_relation(connection: psycopg.Connection, name: str) -> Relation | None:
    """The relation `name` (on the search path) or `schema.name`; None if there is none."""
    schema, _, table = name.rpartition(".")
    row = connection.execute(
        """
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = %(table)s AND c.relkind = ANY(%(kinds)s)
          AND (n.nspname = %(schema)s OR %(schema)s = '' AND pg_table_is_visible(c.oid))
        """,
        {"table": table, "schema": schema, "kinds": list(_TABULAR)},
    ).fetchone()
    return Relation(*row) if row else None


def _missing(connection: psycopg.Connection, settings: Settings) -> dict[str, str]:
    """Name and DDL of each table to create."""
    results = find_relation(connection, settings.results_table)
    wanted = {} if results else {settings.results_table: _RESULTS}
    if find_relation(connection, settings.features_table):
        return wanted
    if results and _holds_features(connection, results):
        return wanted
    return wanted | {settings.features_table: _FEATURES}


def _holds_features(connection: psycopg.Connection, results: Relation) -> bool:
    row = connection.execute(
        """
        SELECT 1 FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s AND NOT attisdropped
          AND atttypid IN ('json'::regtype, 'jsonb'::regtype)
        """,
        [results.identifier.as_string(connection), EMBEDDED_FEATURES],
    ).fetchone()
    return row is not None


def _created(connection: psycopg.Connection, name: str, ddl: str) -> Relation:
    hypertable = ddl is _RESULTS and has_timescaledb(connection)
    table = _new_table(connection, name)
    # A hypertable's unique keys must include its time column.
    key = sql.SQL("id, run_date" if hypertable else "id")
    try:
        with connection.transaction():
            connection.execute(sql.SQL(ddl).format(table=table, key=key, embedded=sql.Identifier(EMBEDDED_FEATURES)))
            if hypertable:
                connection.execute(_HYPERTABLE, [table.as_string(connection)])
            for columns in _INDEXED if ddl is _RESULTS else ():
                listed = sql.SQL(", ").join(map(sql.Identifier, columns))
                connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table, listed))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise SchemaError(_may_not_create(connection, name, error)) from None
    except psycopg.errors.InvalidSchemaName as error:
        raise SchemaError(f"Cannot create the table {name}: {error}. Create the schema, or change the name.") from None
    relation = find_relation(connection, name)
    if relation is None:
        raise SchemaError(f"The table {name} was created but is not on the search path; write it as schema.table.")
    return relation


def _new_table(connection: psycopg.Connection, name: str) -> sql.Identifier:
    """The name in the first schema of the search path, but a temporary one: that would end with the connection."""
    if "." in name:
        return sql.Identifier(*name.rsplit(".", 1))
    row = connection.execute("SELECT s FROM unnest(current_schemas(false)) s WHERE s !~ '^pg_' LIMIT 1").fetchone()
    return sql.Identifier(*(row or ()), name)


def _may_not_create(connection: psycopg.Connection, name: str, error: psycopg.Error) -> str:
    user = connection.info.user
    schema = name.rpartition(".")[0] or "public"
    return (
        f"The table {name!r} is missing in the database {connection.info.dbname!r}, and the role {user!r} "
        f"may not create it: {str(error).strip()}. Let its owner run: GRANT USAGE, CREATE ON SCHEMA {schema} "
        f"TO {user}; or name existing tables in {RESULTS_VARIABLE} and {FEATURES_VARIABLE}."
    )
