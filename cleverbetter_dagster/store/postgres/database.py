"""The one database: which URL serves which purpose, and connections to it.

Everybody who needs the database comes through here, so here the embedded server gets started. Each purpose
has a schema of its own, chosen through `options=-csearch_path=...`, except the rows: their tables may belong
to somebody else, are found on the role's own search path, and never need a right to write.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, Engine, create_engine

from cleverbetter_dagster.errors import DatabaseUnavailable, SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.embedded import ensure_server, running_server
from cleverbetter_dagster.store.postgres.url import (
    conninfo,
    options,
    parsed,
    rendered,
    searching,
    unhurried,
    where,
    without_password,
)

Purpose = Literal["rows", "dagster", "mlflow", "optuna", "state"]

SCHEMAS: dict[Purpose, str | None] = {
    "rows": None,
    "dagster": "dagster",
    "mlflow": "mlflow",
    "optuna": "optuna",
    "state": "cleverbetter",
}
OLDEST_SERVER = 14


@dataclass(frozen=True)
class Target:
    """A database somebody configured, or the embedded one, for one purpose."""

    url: URL  # its repr hides the password
    variable: str  # the environment variable to name when it is at fault
    schema: str | None  # to be created where missing; None: whatever the search path finds

    def __str__(self) -> str:
        return where(self.url)


def database_url(settings: Settings, purpose: Purpose, *, wait_for_disk: bool = True) -> str:
    """A SQLAlchemy URL (psycopg2, with password) whose search path is the purpose's schema, which exists.

    psycopg2, because SQLAlchemy 2.1 takes a bare `postgresql://` to mean psycopg 3, on which Dagster's event
    notifications fail. `wait_for_disk`: whether a commit is on disk when it is done; False for what may be lost.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    url = _usable(settings, purpose).url
    return rendered(url if wait_for_disk else unhurried(url))


def psycopg_connect(settings: Settings, purpose: Purpose, *, autocommit: bool = False) -> psycopg.Connection:
    """A psycopg 3 connection whose search path is the purpose's schema, which exists. The caller closes it.

    Raises:
        SettingsError: the variable holds no PostgreSQL URL.
        EmbeddedServerError: no `DATABASE_URL` is set, and the embedded server cannot be started.
        DatabaseUnavailable: nobody answers there, or the role, password or database is refused.
        SchemaError: the server is older than PostgreSQL 14, or the schema is missing and may not be created.
    """
    return connect(_usable(settings, purpose), autocommit=autocommit)


def engine(settings: Settings, purpose: Purpose) -> Engine:
    """A SQLAlchemy engine on `database_url`. The caller disposes of it."""
    return create_engine(database_url(settings, purpose), pool_pre_ping=True)


def ensure_schema(settings: Settings, purpose: Purpose) -> None:
    """Create the purpose's schema where it is missing; of the rows, which have none, nothing is asked.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    _usable(settings, purpose)


def embedded_folder(settings: Settings) -> Path:
    """Where the embedded server keeps everything."""
    return settings.state_folder / "postgres"


def configured_target(settings: Settings, purpose: Purpose) -> Target | None:
    """The database configured for a purpose; None where the embedded server serves it. Connects nowhere.

    Raises:
        SettingsError: the variable holds no PostgreSQL URL.
    """
    own = {
        "dagster": ("DAGSTER_DATABASE_URL", settings.dagster_database_url),
        "optuna": ("OPTUNA_DATABASE_URL", settings.optuna_database_url),
        "state": ("CLEVERBETTER_STATE_DATABASE_URL", settings.state_database_url),
    }
    variable, secret = own.get(purpose, ("", None))
    if secret:
        url = parsed(secret.get_secret_value(), variable)
        # A URL that serves one purpose alone may say itself where that purpose's tables are to live.
        return Target(url, variable, None) if "search_path" in options(url) else _within(url, variable, purpose)
    if settings.database_url:
        url = parsed(settings.database_url.get_secret_value(), "DATABASE_URL")
        return _within(url, "DATABASE_URL", purpose)
    return None


def running_target(settings: Settings, purpose: Purpose) -> Target | None:
    """The database of a purpose as it is now; None where the embedded server serves it, and is down. Starts none.

    Raises:
        SettingsError: as `configured_target`.
    """
    configured = configured_target(settings, purpose)
    server = None if configured else running_server(embedded_folder(settings))
    return configured or (embedded_target(server.url, purpose) if server else None)


def embedded_target(url: str, purpose: Purpose) -> Target:
    """The embedded server, answering at `url`, for one purpose."""
    return _within(parsed(url, "DATABASE_URL"), "DATABASE_URL", purpose)


def connect(target: Target, *, autocommit: bool = False) -> psycopg.Connection:
    """A psycopg 3 connection to `target`, whether or not its schema exists.

    Raises:
        DatabaseUnavailable: nobody answers there, or the role, password or database is refused.
        SchemaError: the server is older than PostgreSQL 14.
    """
    try:
        connection = psycopg.connect(conninfo(target.url), autocommit=autocommit)
    except psycopg.Error as error:
        reason = without_password(str(error).strip(), target.url)
        raise DatabaseUnavailable(
            f"Cannot use the database {target} ({target.variable}). Check that it runs and that "
            f"{target.variable} is right. {reason}"
        ) from None
    version = connection.info.server_version
    if version < OLDEST_SERVER * 10_000:
        connection.close()
        raise SchemaError(
            f"The database {target} ({target.variable}) is PostgreSQL {version // 10_000}; {OLDEST_SERVER} "
            "or later is needed. Upgrade it, or unset the variable to use the embedded server."
        )
    return connection


@contextmanager
def advisory_lock(connection: psycopg.Connection, name: str) -> Iterator[None]:
    """Hold this database's lock `name` until the block or the connection ends; waits for whoever has it.

    What the next holder is to see has to be committed inside the block.
    """
    key = [f"cleverbetter:{name}"]
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", key)
    try:
        yield
    finally:
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            connection.rollback()
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)


@contextmanager
def locked(settings: Settings, purpose: Purpose, name: str) -> Iterator[None]:
    """Nobody else is in a block of this name meanwhile, in whichever process; on a connection of its own.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    with closing(psycopg_connect(settings, purpose, autocommit=True)) as connection, advisory_lock(connection, name):
        yield


def table_exists(connection: psycopg.Connection, table: str) -> bool:
    """True if the connection's search path has the table."""
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone() == (True,)


def ensure_table(connection: psycopg.Connection, table: str, ddl: LiteralString) -> None:
    """Create one of our own tables if it is missing. Looks first: a role may use a table that it may not create."""
    if not table_exists(connection, table):
        with advisory_lock(connection, f"table {table}"):
            if not table_exists(connection, table):
                connection.execute(ddl)


def has_timescaledb(connection: psycopg.Connection) -> bool:
    """Whether the extension is installed in this database; that the server could install it is not enough."""
    return connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is not None


def _usable(settings: Settings, purpose: Purpose) -> Target:
    target = configured_target(settings, purpose)
    if target is None:
        target = embedded_target(ensure_server(embedded_folder(settings)).url, purpose)
    if target.schema is not None:
        _create_schema_once(target)
    return target


@cache
def _create_schema_once(target: Target) -> None:
    with connect(target, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [target.schema]).fetchone():
            _create_schema(connection, target)
        usable = connection.execute("SELECT has_schema_privilege(%s, 'USAGE')", [target.schema]).fetchone()
        if usable != (True,):
            user = connection.info.user
            raise SchemaError(
                f"The role {user!r} may not use the schema {target.schema!r} of {target} "
                f"({target.variable}). Its owner can run: "
                f"GRANT USAGE, CREATE ON SCHEMA {target.schema} TO {user}"
            )


def _create_schema(connection: psycopg.Connection, target: Target) -> None:
    try:
        name = sql.Identifier(target.schema or "")
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
    except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateSchema):
        return  # somebody else created it between PostgreSQL's look and its insert
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        user = connection.info.user
        raise SchemaError(
            f"The schema {target.schema!r} is missing in {target} ({target.variable}), and the role {user!r} "
            f"may not create it ({str(error).strip()}). The database's owner can run: "
            f"CREATE SCHEMA {target.schema} AUTHORIZATION {user}"
        ) from None


def _within(url: URL, variable: str, purpose: Purpose) -> Target:
    schema = SCHEMAS[purpose]
    return Target(searching(url, schema) if schema else url, variable, schema)
