"""The doctor's checks of the database, the rights in it, MLflow, and the champion's files. They change nothing.

They do not start an embedded PostgreSQL that is down, and do not create a missing schema.
"""

import time
from collections.abc import Iterator
from contextlib import closing

import psycopg

from cleverbetter_dagster.errors import ModelOutdated, RegistryError, SchemaError
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.services.doctor.dates import dates
from cleverbetter_dagster.services.doctor.lines import DoctorLine, Level
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger.table import LedgerEntry, ledger_exists, select_champion
from cleverbetter_dagster.store.postgres.database import SCHEMAS, connect, has_timescaledb, running_target
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.tables import find_relation
from cleverbetter_dagster.store.tracking.availability import is_database
from cleverbetter_dagster.store.tracking.client import artefact_home, require_mlflow, tracking_uri
from cleverbetter_dagster.store.tracking.moved_home import find_move, shown
from cleverbetter_dagster.store.tracking.package import check_model, require_loadable
from cleverbetter_dagster.store.tracking.places import shared_storage
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.tracking.tables import table_revisions

CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 2.0, 60.0


def database(settings: Settings) -> Iterator[DoctorLine]:
    """The server, its clock, and the two tables of rows."""
    target = running_target(settings, "rows")
    if target is None:
        yield DoctorLine("database", "ok", "embedded PostgreSQL is down; the next command that needs it starts it")
        return
    with closing(connect(target, autocommit=True)) as connection:
        yield DoctorLine("database", "ok", f"{target}, {connection.info.parameter_status('server_version')}")
        timescale = has_timescaledb(connection)
        yield DoctorLine("TimescaleDB", "ok", "installed" if timescale else "not installed; plain tables work too")
        yield _clock(connection)
        if find_relation(connection, settings.results_table) is None:
            remedy = "Import rows (`cleverbetter import --help`), or set CLEVERBETTER_RESULTS_TABLE."
            yield DoctorLine("tables", "warn", f"there is no table {settings.results_table} yet", remedy)
            return
    try:
        layout = resolve_source(settings)
    except SchemaError as error:
        yield DoctorLine("tables", "fail", message_of(error))
        return
    yield DoctorLine("tables", "ok", f"{layout.results} can be read")
    yield from dates(settings, layout)


def rights(settings: Settings) -> Iterator[DoctorLine]:
    """Whether the role may write to each of our schemas, or create it."""
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
            yield DoctorLine(f"schema {schema}", "ok", "exists or may be created")
        else:
            grant = f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"
            remedy = f"Let its owner run: CREATE SCHEMA IF NOT EXISTS {schema}; {grant}"
            yield DoctorLine(f"schema {schema}", "fail", f"{user} may not create it, or tables in it", remedy)


def tracking(settings: Settings) -> Iterator[DoctorLine]:
    """Whether MLflow answers, and its tables have the revision it needs."""
    yield _mlflow(settings)


def storage(settings: Settings) -> Iterator[DoctorLine]:
    """Whether the storage that several machines share answers. Nothing is written to it."""
    shared = shared_storage(settings)
    if shared is None:
        return
    seen = shared.folders()
    kept = f"it holds {', '.join(seen)}" if seen else "it holds nothing yet, or there is no such bucket"
    level: Level = "ok" if seen else "warn"
    remedy = "" if seen else "`cleverbetter up` tries whether it may write there."
    yield DoctorLine("storage", level, f"{settings.storage_url}: {kept}", remedy)


def champion_files(settings: Settings) -> Iterator[DoctorLine]:
    """Whether the champion's files are unchanged since they were logged."""
    target = running_target(settings, "state")
    if target is None:
        return
    with closing(connect(target, autocommit=True)) as connection:
        champion = select_champion(connection) if ledger_exists(connection) else None
    if champion is None:
        yield DoctorLine("champion", "ok", "none yet: no model was promoted")
    elif _mlflow(settings).level == "ok":  # MLflow's client would try for minutes
        yield _files_of(settings, champion)
    else:
        yield DoctorLine("champion", "warn", f"the files of {champion} were not checked", "First mend: MLflow.")


def _clock(connection: psycopg.Connection) -> DoctorLine:
    before = time.time()
    (there,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or (0.0,)
    difference = abs(float(there) - (before + time.time()) / 2)
    level: Level = "fail" if difference > CLOCK_FAIL_SECONDS else "warn" if difference > CLOCK_WARN_SECONDS else "ok"
    remedy = "" if level == "ok" else "Set both clocks by NTP; rows dated in the future are refused."
    return DoctorLine("clock", level, f"database and this machine differ by {difference:.1f} s", remedy)


def _mlflow(settings: Settings) -> DoctorLine:
    if settings.mlflow_tracking_uri is None:
        target = running_target(settings, "mlflow")
        if target is None:
            return DoctorLine("MLflow", "ok", "its runs are in the embedded PostgreSQL, which is down")
        connect(target).close()  # raises with the reason if it does not answer
        return _tables(settings, target.sqlalchemy_url)
    require_mlflow(settings)
    if is_database(tracking_uri(settings)):
        return _tables(settings, tracking_uri(settings))
    return DoctorLine("MLflow", "ok", "the tracking server answers")


def _tables(settings: Settings, url: str) -> DoctorLine:
    revision, needed = table_revisions(url)
    if revision is None:
        return DoctorLine("MLflow", "ok", "has no tables yet; the first training creates them")
    if revision == needed and (move := find_move(url, artefact_home(settings))):
        message = f"its records name {shown(move.old)}: its files were moved or copied from there"
        return DoctorLine("MLflow", "warn", message, "The next command that uses a model corrects them.")
    if revision == needed:
        return DoctorLine("MLflow", "ok", f"its runs are in the database (tables of revision {revision})")
    message = f"its tables have revision {revision}, but the installed MLflow needs {needed}"
    remedy = "Back up the database, then run `mlflow db upgrade` on it; if MLflow was downgraded, upgrade MLflow."
    return DoctorLine("MLflow", "fail", message, remedy)


def _files_of(settings: Settings, champion: LedgerEntry) -> DoctorLine:
    try:
        version = Registry(settings).get_version(*champion.model)
        sha256 = check_model(settings, version.model_uri)
        require_loadable(version)
    except ModelOutdated as error:
        return DoctorLine(
            "champion", "fail", message_of(error), f"`cleverbetter train {champion.family}`, then promote it."
        )
    except RegistryError as error:
        remedy = "Restore its files from a backup, or return to its predecessor: `cleverbetter rollback --reason ...`."
        return DoctorLine("champion", "fail", message_of(error), remedy)
    message = f"{champion}, as of {champion.as_of}: its files are unchanged (SHA-256 {sha256[:12]}...)"
    return DoctorLine("champion", "ok", message)
