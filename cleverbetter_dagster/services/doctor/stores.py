"""The doctor's look at what is kept: the database, rights in it, MLflow, and the champion's files. Changes nothing.

An embedded PostgreSQL that is down is not started to be looked at; a schema that is missing is not created.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg

from cleverbetter_dagster.errors import RegistryError, SchemaError
from cleverbetter_dagster.services.doctor.lines import Finding, Level
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger.table import LedgerEntry, ledger_exists, select_champion
from cleverbetter_dagster.store.postgres.database import SCHEMAS, connect, has_timescaledb, running_target
from cleverbetter_dagster.store.postgres.url import rendered
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.tables import find_relation
from cleverbetter_dagster.store.tracking.client import mlflow_client, tracking_uri
from cleverbetter_dagster.store.tracking.package import check_model
from cleverbetter_dagster.store.tracking.tables import table_revisions

CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 2.0, 60.0
ANSWER_TIMEOUT_SECONDS = 5


def database(settings: Settings) -> Iterator[Finding]:
    """The server, its clock, and the two tables of rows."""
    target = running_target(settings, "rows")
    if target is None:
        yield Finding("database", "ok", "embedded PostgreSQL, down; whoever needs it starts it")
        return
    with closing(connect(target, autocommit=True)) as connection:
        yield Finding("database", "ok", f"{target}, {connection.info.parameter_status('server_version')}")
        timescale = has_timescaledb(connection)
        yield Finding("TimescaleDB", "ok", "installed" if timescale else "not installed; plain tables do as well")
        yield _clock(connection)
        if find_relation(connection, settings.results_table) is None:
            remedy = "Run `cleverbetter import`, or set CLEVERBETTER_RESULTS_TABLE."
            yield Finding("tables", "warn", f"there is no table {settings.results_table} yet", remedy)
            return
    try:
        yield Finding("tables", "ok", f"{resolve_source(settings).results} can be read")
    except SchemaError as error:
        yield Finding("tables", "fail", str(error))


def rights(settings: Settings) -> Iterator[Finding]:
    """Whether each schema of ours may be written in, or created."""
    for purpose, schema in SCHEMAS.items():
        target = running_target(settings, purpose)
        if schema is None or target is None:
            continue
        with closing(connect(target, autocommit=True)) as connection:
            row = connection.execute(
                """SELECT CASE WHEN EXISTS (SELECT FROM pg_namespace WHERE nspname = %(schema)s)
                       THEN has_schema_privilege(%(schema)s, 'USAGE') AND has_schema_privilege(%(schema)s, 'CREATE')
                       ELSE has_database_privilege(current_database(), 'CREATE') END""",
                {"schema": schema},
            ).fetchone()
            user = connection.info.user
        if row == (True,):
            yield Finding(f"schema {schema}", "ok", "there, or may be created")
        else:
            grant = f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"
            remedy = f"Its owner runs: CREATE SCHEMA IF NOT EXISTS {schema}; {grant}"
            yield Finding(f"schema {schema}", "fail", f"the role {user!r} may not create it, or not in it", remedy)


def tracking(settings: Settings) -> Iterator[Finding]:
    """Whether MLflow answers, and its tables fit it."""
    yield _mlflow(settings)


def champion_files(settings: Settings) -> Iterator[Finding]:
    """Whether the champion's files are those that were logged."""
    target = running_target(settings, "state")
    if target is None:
        return
    with closing(connect(target, autocommit=True)) as connection:
        champion = select_champion(connection) if ledger_exists(connection) else None
    if champion is None:
        yield Finding("champion", "ok", "none yet: nothing was promoted")
    elif _mlflow(settings).level == "ok":  # a client of one that is away would try for minutes
        yield _files_of(settings, champion)
    else:
        yield Finding("champion", "warn", f"the files of {champion} were not looked at", "Mend MLflow first.")


def _clock(connection: psycopg.Connection) -> Finding:
    before = time.time()
    (there,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or (0.0,)
    apart = abs(float(there) - (before + time.time()) / 2)
    level: Level = "fail" if apart > CLOCK_FAIL_SECONDS else "warn" if apart > CLOCK_WARN_SECONDS else "ok"
    remedy = "" if level == "ok" else "Keep both machines' clocks right by NTP; rows of the future are refused."
    return Finding("clock", level, f"{apart:.1f} s between database and this machine", remedy)


def _mlflow(settings: Settings) -> Finding:
    if settings.mlflow_tracking_uri is None:
        target = running_target(settings, "mlflow")
        if target is None:
            return Finding("MLflow", "ok", "keeps its runs in the embedded PostgreSQL, which is down")
        connect(target).close()  # which says why, where it does not answer
        return _tables(rendered(target.url))
    if settings.mlflow_tracking_uri.startswith("http"):
        return _tracking_server(settings, settings.mlflow_tracking_uri)
    return _tables(tracking_uri(settings))


def _tables(url: str) -> Finding:
    revisions = table_revisions(url)
    if revisions.found is None:
        return Finding("MLflow", "ok", "has no tables in its database yet; the first training makes them")
    if revisions.fit:
        return Finding("MLflow", "ok", f"keeps its runs in the database (tables of revision {revisions.found})")
    told = f"its tables are of revision {revisions.found}, the installed MLflow needs {revisions.needed}"
    remedy = "Back the database up, then run `mlflow db upgrade` on it; if MLflow was downgraded, upgrade MLflow."
    return Finding("MLflow", "fail", told, remedy)


def _tracking_server(settings: Settings, uri: str) -> Finding:
    from mlflow.exceptions import MlflowException

    if not _answers(uri):
        remedy = "Start it, or correct MLFLOW_TRACKING_URI."
        return Finding("MLflow", "fail", "the tracking server does not answer", remedy)
    try:
        mlflow_client(settings).search_experiments(max_results=1)
    except MlflowException as error:
        told = str(error.message).replace(uri, "that address")
        return Finding("MLflow", "fail", told, "Correct MLFLOW_TRACKING_URI, or give it the right user and password.")
    return Finding("MLflow", "ok", "the tracking server answers")


def _files_of(settings: Settings, champion: LedgerEntry) -> Finding:
    try:
        sha256 = check_model(settings, f"models:/{champion.family}/{champion.version}")
    except RegistryError as error:
        remedy = "Restore its files from a backup; until then, `cleverbetter rollback --reason ...` to the one before."
        return Finding("champion", "fail", str(error), remedy)
    told = f"{champion}, as of {champion.as_of}: its files are those that were logged (SHA-256 {sha256[:12]}...)"
    return Finding("champion", "ok", told)


def _answers(uri: str) -> bool:
    """Whether anybody listens there: MLflow itself would try for minutes."""
    parts = urlsplit(uri)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=ANSWER_TIMEOUT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True
