"""`cleverbetter status`: what is up, where, what the database holds, who is champion. Starts nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ExitCode, ResultTable, print_json, progress_console, result_console
from cleverbetter_dagster.errors import DatabaseUnavailable, SettingsError, TrackingUnavailable
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.web.up_processes import UpRecord, again, read_record, record_path

if TYPE_CHECKING:
    from cleverbetter_dagster.store.summary import DatabaseSummary, RowsSummary
    from cleverbetter_dagster.store.unfinished_runs import UnfinishedRun


@dataclass(frozen=True)
class ServiceStatus:
    """A process that `cleverbetter up` started; without `url` it serves nobody.

    Attributes:
        state: `given up` is one that ended, was started again as often as `up` tries, and ended once more.
        restarts: how often `up` started it again.
    """

    state: Literal["up", "down", "given up"]
    pid: int
    url: str | None
    restarts: int

    def __str__(self) -> str:
        if self.state == "given up":
            return f"[red]given up, {again(self.restarts)}; see its log, then `cleverbetter down` and `cleverbetter up`"
        where = (self.url or f"process {self.pid}") if self.state == "up" else "[red]down"
        return f"{where} [yellow]({again(self.restarts)})" if self.restarts else where


@dataclass(frozen=True)
class Status:
    """What `status` reports, as `--json` writes it.

    Attributes:
        mlflow_tracking: where MLflow keeps runs: in our database, or at the server of `MLFLOW_TRACKING_URI`.
        mlflow_trouble: why that server cannot be used; None if it can, or if there is none.
        database_state: `down` is an embedded one, which whoever needs it starts.
        database: None unless it is up.
        trouble: why it is unavailable.
        work: the runs that are running or queued, in the order in which they were requested.
    """

    home: Path
    state_folder: Path
    services: dict[str, ServiceStatus]
    mlflow_tracking: Literal["database", "server"]
    mlflow_trouble: str | None
    database_state: Literal["up", "down", "unavailable"]
    database: "DatabaseSummary | None"
    trouble: str | None
    work: "list[UnfinishedRun]"


def status(as_json: AsJson = False) -> None:
    """Say what is up and where, what runs and waits, how many rows there are, and which model is champion."""
    settings = load_settings()
    state = collect(settings)
    troubles = [trouble for trouble in (state.trouble, state.mlflow_trouble) if trouble]
    if as_json:
        print_json(state)
    else:
        result_console().print(_table(state))
        for trouble in troubles:
            progress_console().print(trouble, style="red", markup=False, soft_wrap=True)
    if troubles:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def collect(settings: Settings) -> Status:
    """Look once at the processes and at the database."""
    from cleverbetter_dagster.store.summary import summarise_database
    from cleverbetter_dagster.store.unfinished_runs import unfinished_runs

    database, trouble, work = None, None, []
    try:
        database = summarise_database(settings)
        work = unfinished_runs(settings)
    except DatabaseUnavailable as error:
        trouble = message_of(error)
    record = read_record(record_path(settings))
    return Status(
        home=settings.home,
        state_folder=settings.state_folder,
        services=_services(record) if record else {},
        mlflow_tracking="server" if settings.mlflow_tracking_uri else "database",
        mlflow_trouble=mlflow_trouble(settings),
        database_state="unavailable" if trouble else "up" if database else "down",
        database=database,
        trouble=trouble,
        work=work,
    )


def mlflow_trouble(settings: Settings) -> str | None:
    """Why the MLflow of `MLFLOW_TRACKING_URI` cannot be used; None if it can, or if that is not set."""
    if settings.mlflow_tracking_uri is None:
        return None
    from cleverbetter_dagster.store.tracking.client import require_mlflow

    try:
        require_mlflow(settings)
    except (TrackingUnavailable, SettingsError) as error:
        return message_of(error)
    return None


def _services(record: UpRecord) -> dict[str, ServiceStatus]:
    return {
        service.name: ServiceStatus(service.state, service.pid, service.url, service.restarts)
        for service in record.services
    }


def _table(status: Status) -> ResultTable:
    table = ResultTable(f"cleverbetter in {status.home}", ("", ""))
    for name, service in status.services.items():
        table.add_row(name, str(service))
    if not status.services:
        table.add_row("Dagster, MLflow", "down; `cleverbetter up` starts them")
    unusable = " [red](cannot be used)" if status.mlflow_trouble else ""
    tracking = {"database": "the database", "server": "the server of MLFLOW_TRACKING_URI"}[status.mlflow_tracking]
    table.add_row("MLflow keeps runs in", tracking + unusable)
    table.add_row("files", str(status.state_folder))
    if status.database is None:
        table.add_row(
            "PostgreSQL", "[red]cannot be used" if status.trouble else "embedded, down; whoever needs it starts it"
        )
        return table
    database = status.database
    timescaledb = f", TimescaleDB {database.timescaledb}" if database.timescaledb else ", no TimescaleDB"
    table.add_row("PostgreSQL", f"{database.where}\nversion {database.version}{timescaledb}")
    _add_rows(table, database.rows, database.rows_missing)
    for state in ("running", "queued"):
        runs = [f"{run}, since {run.since:%Y-%m-%d %H:%M} UTC" for run in status.work if run.state == state]
        table.add_row(state, Text("\n".join(runs) or "nothing"))
    table.add_row("in quarantine", f"{database.quarantined:,}" if database.quarantined else "nothing")
    table.add_row("champion", str(database.champion or "none yet"))
    return table


def _add_rows(table: ResultTable, rows: "RowsSummary | None", missing: str | None) -> None:
    if rows is None:
        table.add_row("rows", f"[yellow]{missing}")
        return
    for source in rows.tables:
        table.add_row(source.name, f"{'about ' if source.estimated else ''}{source.rows:,} rows")
    if rows.first_start and rows.last_end and rows.newest:
        table.add_row("windows", f"{rows.first_start:%Y-%m-%d} to {rows.last_end:%Y-%m-%d}")
        table.add_row("newest row", f"{rows.newest:%Y-%m-%d %H:%M} UTC")
