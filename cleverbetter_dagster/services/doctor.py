"""What may be wrong with a deployment, looked at once: each finding says how to mend it. Changes nothing.

An embedded PostgreSQL that is down is not started to be looked at; a schema that is missing is not created.
"""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

import psycopg
from packaging.requirements import Requirement

from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.database import (
    SCHEMAS,
    Purpose,
    Target,
    configured_target,
    connect,
    embedded_folder,
    embedded_target,
    has_timescaledb,
)
from cleverbetter_dagster.store.embedded import running_server
from cleverbetter_dagster.store.home import INSTANCE_FILE, is_current, is_ours
from cleverbetter_dagster.store.layout import resolve_source
from cleverbetter_dagster.store.tables import find_relation
from cleverbetter_dagster.store.tracking import mlflow_client

Level = Literal["ok", "warn", "fail"]

LITTLE_DISK_GIB, LEAST_DISK_GIB = 5.0, 1.0
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 2.0, 60.0
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` is blank where all is well."""

    name: str
    level: Level
    told: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> list[Finding]:
    """Every check in turn; one that cannot be made is itself a finding."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            found += check(settings)
        except CleverBetterError as error:
            found.append(Finding(name, "fail", str(error), "The message says how."))
    return found


def _home(settings: Settings) -> Iterator[Finding]:
    place = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    if not place.is_dir():
        yield Finding("home", "fail", f"{place} is no folder", "Set DAGSTER_HOME to a folder of yours.")
        return
    yield Finding("home", "ok", str(settings.home))
    if (settings.home / INSTANCE_FILE).exists() and not is_current(settings):
        told = f"{INSTANCE_FILE} is not what this release comes with: its limits of runs may be missing"
        remedy = "The next command renews it." if is_ours(settings) else "Yours: compare it, or delete it to get ours."
        yield Finding("instance", "warn", told, remedy)
    free = shutil.disk_usage(place).free / GIB
    level: Level = "fail" if free < LEAST_DISK_GIB else "warn" if free < LITTLE_DISK_GIB else "ok"
    remedy = "" if level == "ok" else "Free some, or set DAGSTER_HOME to a larger disk."
    yield Finding("disk", level, f"{free:.1f} GiB free at {place}", remedy)


def _versions(_: Settings) -> Iterator[Finding]:
    wrong = []
    for requirement in map(Requirement, requires("cleverbetter-dagster") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "not installed"
        if installed == "not installed" or not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} (tested: {requirement.specifier})")
    if wrong:
        yield Finding("packages", "fail", "; ".join(wrong), "Install again: pip install -e .")
    else:
        yield Finding("packages", "ok", "every package is of a tested version")


def _database(settings: Settings) -> Iterator[Finding]:
    target = _target(settings, "rows")
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
    layout = resolve_source(settings)
    yield Finding("tables", "ok", f"{layout.results} can be read")


def _clock(connection: psycopg.Connection) -> Finding:
    before = time.time()
    (there,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or (0.0,)
    apart = abs(float(there) - (before + time.time()) / 2)
    level: Level = "fail" if apart > CLOCK_FAIL_SECONDS else "warn" if apart > CLOCK_WARN_SECONDS else "ok"
    remedy = "" if level == "ok" else "Keep both machines' clocks right by NTP; rows of the future are refused."
    return Finding("clock", level, f"{apart:.1f} s between database and this machine", remedy)


def _rights(settings: Settings) -> Iterator[Finding]:
    for purpose, schema in SCHEMAS.items():
        target = _target(settings, purpose)
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


def _mlflow(settings: Settings) -> Iterator[Finding]:
    from mlflow.exceptions import MlflowException

    if settings.mlflow_tracking_uri is None:
        yield Finding("MLflow", "ok", "keeps its runs in the database")
        return
    if settings.mlflow_tracking_uri.startswith("http") and not _answers(settings.mlflow_tracking_uri):
        remedy = "Start it, or correct MLFLOW_TRACKING_URI."
        yield Finding("MLflow", "fail", "the tracking server does not answer", remedy)
        return
    try:
        mlflow_client(settings).search_experiments(max_results=1)
    except MlflowException as error:
        told = str(error.message).replace(settings.mlflow_tracking_uri, "that address")
        yield Finding("MLflow", "fail", told, "Correct MLFLOW_TRACKING_URI, or give it the right user and password.")
        return
    yield Finding("MLflow", "ok", "the tracking server answers")


def _ports(settings: Settings) -> Iterator[Finding]:
    for name, port in (("Dagster", settings.dagster_port), ("MLflow", settings.mlflow_port)):
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        told = f"port {port} is {'taken' if taken else 'free'}"
        remedy = f"By `cleverbetter up`: all is well; else set CLEVERBETTER_{name.upper()}_PORT." if taken else ""
        yield Finding(f"port of {name}", "warn" if taken else "ok", told, remedy)


CHECKS: dict[str, Check] = {
    "home": _home,
    "packages": _versions,
    "database": _database,
    "rights": _rights,
    "MLflow": _mlflow,
    "ports": _ports,
}


def _target(settings: Settings, purpose: Purpose) -> Target | None:
    configured = configured_target(settings, purpose)
    server = None if configured else running_server(embedded_folder(settings))
    return configured or (embedded_target(server.url, purpose) if server else None)


def _answers(uri: str) -> bool:
    """Whether anybody listens there: MLflow itself would try for minutes."""
    from urllib.parse import urlsplit

    parts = urlsplit(uri)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except (OSError, ValueError):
        return False
    return True
