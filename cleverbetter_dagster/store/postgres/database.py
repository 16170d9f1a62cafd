"""The one database: which URL serves which purpose, and connections to it.

Every use of the database goes through here, and starts the embedded server if that is needed. Each purpose has a schema
of its own, which `session.prepare` chooses in every connection. The rows have none: their tables may belong to others,
are found on the role's own search path, and never need a right to write.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, LiteralString

import psycopg
import psycopg2  # type: ignore[import-untyped]
from psycopg import sql

from cleverbetter_dagster.errors import DatabaseUnavailable, SchemaError, SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.embedded import ensure_server, running_server
from cleverbetter_dagster.store.postgres.locks import advisory_lock
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.postgres.session import prepare, serving_pid, shares_sessions
from cleverbetter_dagster.store.postgres.transient import is_transient
from cleverbetter_dagster.store.postgres.url import PostgresUrl, parsed, sqlalchemy_url, without_password

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
    """A configured database, or the embedded one, for one purpose."""

    url: PostgresUrl  # its repr hides the password
    variable: str  # the environment variable to name in errors
    schema: str | None  # created if missing; None: what the search path finds

    @property
    def settings(self) -> dict[str, str]:
        """What the URL and the purpose ask of a session."""
        return dict(self.url.settings) | ({"search_path": self.schema} if self.schema else {})

    @property
    def sqlalchemy_url(self) -> str:
        """The URL for SQLAlchemy, with the password."""
        return sqlalchemy_url(self.url, self.settings)

    def __str__(self) -> str:
        return str(self.url)


def database_url(settings: Settings, purpose: Purpose, *, wait_for_disk: bool = True) -> str:
    """A SQLAlchemy URL (with password) of `dialect`, whose search path is the purpose's schema, which exists.

    `wait_for_disk`: a commit waits until it is on disk; False for data that may be lost.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    target = _usable(settings, purpose)
    # Without waiting, a crash of the server may lose the last second of commits.
    return sqlalchemy_url(target.url, target.settings | ({} if wait_for_disk else {"synchronous_commit": "off"}))


def psycopg_connect(settings: Settings, purpose: Purpose, *, autocommit: bool = False) -> psycopg.Connection:
    """A psycopg 3 connection whose search path is the purpose's schema, which exists. The caller closes it.

    Raises:
        SettingsError: the variable holds no PostgreSQL URL.
        EmbeddedServerError: no `DATABASE_URL` is set, and the embedded server cannot be started.
        DatabaseUnavailable: no server answers, or it refuses the role, password or database.
        SchemaError: the server is older than PostgreSQL 14, or the schema is missing and may not be created.
    """
    return connect(_usable(settings, purpose), autocommit=autocommit)


def psycopg2_connect(settings: Settings, purpose: Purpose) -> "psycopg2.extensions.connection":
    """The same with psycopg2, which copies out with a third of psycopg 3's processor time.

    Raises:
        psycopg2.Error: the server does not answer any more.
        CleverBetterError: as `psycopg_connect`.
    """
    target = _usable(settings, purpose)
    connection = psycopg2.connect(target.url.conninfo)
    prepare(connection, target.settings)
    return connection


def embedded_folder(settings: Settings) -> Path:
    """The folder of the embedded server."""
    return settings.state_folder / "postgres"


def configured_target(settings: Settings, purpose: Purpose) -> Target | None:
    """The database configured for a purpose; None if the embedded server serves it. Does not connect.

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
        # A URL for one purpose may itself name the schema of that purpose's tables.
        return Target(url, variable, None if "search_path" in dict(url.settings) else SCHEMAS[purpose])
    if settings.database_url:
        url = parsed(settings.database_url.get_secret_value(), "DATABASE_URL")
        return Target(url, "DATABASE_URL", SCHEMAS[purpose])
    return None


def running_target(settings: Settings, purpose: Purpose) -> Target | None:
    """The present database of a purpose; None if the embedded server serves it and is down. Starts no server.

    Raises:
        SettingsError: as `configured_target`.
    """
    configured = configured_target(settings, purpose)
    server = None if configured else running_server(embedded_folder(settings))
    return configured or (_embedded_target(server, purpose) if server else None)


def connect(target: Target, *, autocommit: bool = False) -> psycopg.Connection:
    """A psycopg 3 connection to `target`; its schema may be missing.

    Raises:
        DatabaseUnavailable: no server answers, or it refuses the role, password or database.
        SchemaError: the server is older than PostgreSQL 14.
        SettingsError: a pooler gives each transaction another session, or the server refuses an option of the URL.
    """
    connection = _connect(target)
    try:
        if connection.info.backend_pid != serving_pid(connection):  # a pooler answers
            _require_own_sessions(target)
        _check_version(connection, target)
        prepare(connection, target.settings)
        connection.autocommit = autocommit
    except psycopg.Error as error:
        connection.close()
        if is_transient(error):
            raise _unavailable(target, error) from None
        raise SettingsError(
            f"The database {target} refuses an option of {target.variable}: {str(error).strip()}. Correct `options`."
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def locked(settings: Settings, purpose: Purpose, name: str) -> Iterator[None]:
    """Hold the lock `name`, on a connection of its own: no other process is in such a block at the same time.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    with closing(psycopg_connect(settings, purpose, autocommit=True)) as connection, advisory_lock(connection, name):
        yield


def table_exists(connection: psycopg.Connection, name: str) -> bool:
    """True if the connection's search path has the table or view."""
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone() == (True,)


def ensure_table(connection: psycopg.Connection, name: str, ddl: LiteralString | sql.Composed) -> None:
    """Execute `ddl` in one transaction if the table or view `name`, which it creates, is missing.

    Checks that first, because a role may use tables that it may not create. The connection is an autocommit one.
    """
    if not table_exists(connection, name):
        with advisory_lock(connection, f"table {name}"), connection.transaction():
            if not table_exists(connection, name):
                connection.execute(ddl)


def has_timescaledb(connection: psycopg.Connection) -> bool:
    """True if the extension is installed in this database. It is not enough that the server offers it."""
    return connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is not None


def _usable(settings: Settings, purpose: Purpose) -> Target:
    target = configured_target(settings, purpose)
    if target is None:
        target = _embedded_target(ensure_server(embedded_folder(settings)), purpose)
    _check_once(target)
    return target


def _connect(target: Target) -> psycopg.Connection:
    """An autocommit connection whose session is as the server makes it."""
    try:
        return psycopg.connect(target.url.conninfo, autocommit=True)
    except psycopg.Error as error:
        raise _unavailable(target, error) from None


def _unavailable(target: Target, error: psycopg.Error) -> DatabaseUnavailable:
    reason = without_password(str(error).strip(), target.url)
    # A server that answers says FATAL; libpq has no code for why a connection failed.
    remedy = (
        f"Its server answers, and refuses: check user, password and name of the database in {target.variable}."
        if "FATAL" in reason
        else f"Check that its server runs and that {target.variable} is right."
    )
    return DatabaseUnavailable(f"Cannot use the database {target} ({target.variable}). {remedy} {reason}")


@cache
def _require_own_sessions(target: Target) -> None:
    """Refuse a pooler that gives a session away after each transaction, and with it settings, locks and snapshots."""
    with closing(_connect(target)) as one, closing(_connect(target)) as other:
        if shares_sessions(one, other):
            raise SettingsError(
                f"{target.variable} leads to {target} through a pooler that gives each transaction another session. "
                "Set pool_mode = session for this database, or name the server itself."
            )


def _check_version(connection: psycopg.Connection, target: Target) -> None:
    version = connection.info.server_version
    if version < OLDEST_SERVER * 10_000:
        raise SchemaError(
            f"The database {target} ({target.variable}) is PostgreSQL {version // 10_000}; {OLDEST_SERVER} "
            "or later is needed. Upgrade it, or unset the variable to use the embedded server."
        )


@cache
def _check_once(target: Target) -> None:
    """Connect for the first time, and create the schema if it is missing."""
    with closing(connect(target, autocommit=True)) as connection:
        if target.schema is None:
            return
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
        return  # another process created it in the meantime
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        user = connection.info.user
        raise SchemaError(
            f"The schema {target.schema!r} is missing in {target} ({target.variable}), and the role {user!r} "
            f"may not create it ({str(error).strip()}). The database's owner can run: "
            f"CREATE SCHEMA {target.schema} AUTHORIZATION {user}"
        ) from None


def _embedded_target(server: ServerAddress, purpose: Purpose) -> Target:
    return Target(parsed(server.url, "DATABASE_URL"), "DATABASE_URL", SCHEMAS[purpose])
