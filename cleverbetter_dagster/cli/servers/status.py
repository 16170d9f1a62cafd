"""`cleverbetter status`: what is up, where, what the database holds, who is champion. Starts nothing."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import VisibleConsole
from cleverbetter_dagster.cli.servers.running import ProcessRecord, UpRecord, read_record, record_path
from cleverbetter_dagster.errors import DatabaseUnavailable, SettingsError, TrackingUnavailable
from cleverbetter_dagster.redaction import redacted
from cleverbetter_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.store.summary import DatabaseSummary, RowsSummary


@dataclass(frozen=True)
class Status:
    """What `status` reports, as `--json` writes it.

    Attributes:
        database: None if it is down; `trouble` may say why.
        mlflow_trouble: why the MLflow of `MLFLOW_TRACKING_URI` cannot be used; None if it can, or if that is not set.
    """

    home: Path
    state_folder: Path
    services: dict[str, str | None]
    mlflow_tracking: str
    mlflow_trouble: str | None
    database: "DatabaseSummary | None"
    trouble: str | None


def status(as_json: AsJson = False) -> None:
    """Say what is up and where, how many rows there are, and which model is champion."""
    settings, console = load_settings(), VisibleConsole()
    state = collect(settings)
    if as_json:
        typer.echo(json.dumps(asdict(state), default=str, indent=2))
        return
    console.print(_table(state))
    for trouble in filter(None, (state.trouble, state.mlflow_trouble)):
        console.print(trouble, style="red", markup=False, soft_wrap=True)


def collect(settings: Settings) -> Status:
    """Look once at the processes and at the database."""
    from cleverbetter_dagster.store.summary import summarise_database

    database, trouble = None, None
    try:
        database = summarise_database(settings)
    except DatabaseUnavailable as error:
        trouble = redacted(str(error))
    record = read_record(record_path(settings))
    return Status(
        home=settings.home,
        state_folder=settings.state_folder,
        services=_services(record) if record else {},
        mlflow_tracking="MLFLOW_TRACKING_URI" if settings.mlflow_tracking_uri else "the database",
        mlflow_trouble=mlflow_trouble(settings),
        database=database,
        trouble=trouble,
    )


def mlflow_trouble(settings: Settings) -> str | None:
    """Why the MLflow of `MLFLOW_TRACKING_URI` cannot be used; None if it can, or if that is not set."""
    if settings.mlflow_tracking_uri is None:
        return None
    from cleverbetter_dagster.store.tracking.client import require_mlflow

    try:
        require_mlflow(settings)
    except (TrackingUnavailable, SettingsError) as error:
        return redacted(str(error))
    return None


def _services(record: UpRecord) -> dict[str, str | None]:
    """Where each service is; None where it is gone."""
    return {service.name: _where(service) for service in record.services}


def _where(service: ProcessRecord) -> str | None:
    return (service.url or f"process {service.pid}") if service.process() else None


def _table(status: Status) -> Table:
    table = Table(title=f"cleverbetter in {status.home}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, where in status.services.items():
        table.add_row(name, where or "[red]down")
    if not status.services:
        table.add_row("Dagster, MLflow", "down; `cleverbetter up` starts them")
    unusable = " [red](cannot be used)" if status.mlflow_trouble else ""
    table.add_row("MLflow keeps runs in", status.mlflow_tracking + unusable)
    table.add_row("files", str(status.state_folder))
    if status.database is None:
        table.add_row(
            "PostgreSQL", "[red]does not answer" if status.trouble else "embedded, down; whoever needs it starts it"
        )
        return table
    database = status.database
    timescaledb = f", TimescaleDB {database.timescaledb}" if database.timescaledb else ", no TimescaleDB"
    table.add_row("PostgreSQL", f"{database.where}\nversion {database.version}{timescaledb}")
    _add_rows(table, database.rows, database.rows_missing)
    table.add_row("in quarantine", f"{database.quarantined:,}" if database.quarantined else "nothing")
    table.add_row("champion", database.champion or "none yet")
    return table


def _add_rows(table: Table, rows: "RowsSummary | None", missing: str | None) -> None:
    if rows is None:
        table.add_row("rows", f"[yellow]{missing}")
        return
    for source in rows.tables:
        table.add_row(source.name, f"{'about ' if source.estimated else ''}{source.rows:,} rows")
    if rows.first_start and rows.last_end and rows.newest:
        table.add_row("windows", f"{rows.first_start:%Y-%m-%d} to {rows.last_end:%Y-%m-%d}")
        table.add_row("newest row", f"{rows.newest:%Y-%m-%d %H:%M} UTC")
