"""`cleverbetter up`: start what a person needs, say where it is, stop all of it on Ctrl-C."""

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cleverbetter_dagster.cli.running import (
    TOKEN_VARIABLE,
    ProcessRecord,
    UpRecord,
    processes_of,
    read_record,
    record_path,
    stop_processes,
)
from cleverbetter_dagster.cli.services import (
    Service,
    daemon_service,
    free_port,
    mlflow_service,
    webserver_service,
)
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import Settings, load_settings

START_TIMEOUT_SECONDS = 180.0
LEAVE_TIMEOUT_SECONDS = 2.0
POLL_SECONDS = 0.25

Running = dict[Service, subprocess.Popen[bytes]]


class ServiceFailed(CleverBetterError):
    """A service did not start, or ended by itself."""


class AlreadyUp(CleverBetterError):
    """Another `cleverbetter up` of this home runs, or left something running."""


def up(
    port: Annotated[int | None, typer.Option(help="Port of Dagster's UI.", min=1, max=65535)] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="Port of MLflow's UI.", min=1, max=65535)] = None,
    mlflow: Annotated[bool, typer.Option(help="Whether to start MLflow's UI.")] = True,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything answers.")] = False,
) -> None:
    """Start PostgreSQL, MLflow's and Dagster's UIs and Dagster's daemon; Ctrl-C stops them."""
    from cleverbetter_dagster.store.home import prepare_home

    settings, console = load_settings(), Console()
    ports = {"dagster_port": port or settings.dagster_port, "mlflow_port": mlflow_port or settings.mlflow_port}
    settings = settings.model_copy(update=ports)
    prepare_home(settings)
    if detach:
        _detach(settings, mlflow, console)
        return
    with _alone(settings), _signals_interrupt():
        _run(settings, mlflow, console)


def _run(settings: Settings, mlflow: bool, console: Console) -> None:
    token = secrets.token_hex(16)
    record = UpRecord(ProcessRecord.of("cleverbetter up", os.getpid()), token, False, ())
    record.write(record_path(settings))
    try:
        running = _start_all(settings, token, mlflow, console)
        services = tuple(ProcessRecord.of(s.name, p.pid, s.url) for s, p in running.items())
        replace(record, ready=True, services=services).write(record_path(settings))
        console.print(_addresses(settings, services))
        console.print("Ctrl-C stops everything.")
        while True:
            _check_alive(settings, running)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        console.print()
    finally:
        _stop_all(settings, token, console)


def _start_all(settings: Settings, token: str, mlflow: bool, console: Console) -> Running:
    from cleverbetter_dagster.store.database import database_url
    from cleverbetter_dagster.store.tracking import artefact_folder

    mlflow = mlflow and settings.mlflow_tracking_uri is None
    with console.status("starting PostgreSQL"):
        database_url(settings, "dagster")
        backend_url = database_url(settings, "mlflow") if mlflow else ""
    services = [webserver_service(settings, _port(settings.dagster_port, "Dagster", console))]
    if mlflow:
        taken = _port(settings.mlflow_port, "MLflow", console)
        services.append(mlflow_service(settings, backend_url, artefact_folder(settings), taken))
    services.append(daemon_service(settings, str(services[0].url)))
    running: Running = {}
    for service in services:
        running[service] = service.start(settings.home, {TOKEN_VARIABLE: token})
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    for service in services:
        with console.status(f"waiting for {service.name}"):
            _wait_for(service, settings, running, deadline)
    return running


def _wait_for(service: Service, settings: Settings, running: Running, deadline: float) -> None:
    while not service.answers():
        _check_alive(settings, running)
        if time.monotonic() > deadline:
            raise ServiceFailed(
                f"{service.name} did not answer within {START_TIMEOUT_SECONDS:.0f} s. {_end_of(service.log)}"
            )
        time.sleep(POLL_SECONDS)


def _check_alive(settings: Settings, running: Running) -> None:
    from cleverbetter_dagster.store.database import embedded_folder
    from cleverbetter_dagster.store.postmaster import live_postmaster

    for service, process in running.items():
        code = process.poll()
        if code is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise ServiceFailed(f"{service.name} {how}. {_end_of(service.log)}")
    if settings.uses_embedded_database and live_postmaster(embedded_folder(settings)) is None:
        raise ServiceFailed(f"PostgreSQL ended. {_end_of(embedded_folder(settings) / 'server.log')}")


def _stop_all(settings: Settings, token: str, console: Console) -> None:
    from cleverbetter_dagster.store.database import embedded_folder
    from cleverbetter_dagster.store.embedded import stop_server

    with console.status("stopping; Ctrl-C again kills"):
        try:
            stop_processes(token)
        except KeyboardInterrupt:
            stop_processes(token, timeout_seconds=0)
    record_path(settings).unlink(missing_ok=True)
    if not settings.uses_embedded_database:
        console.print("Stopped.")
    elif _serves_others(settings):
        console.print("Stopped, except PostgreSQL, which others are using; `cleverbetter down` stops it.")
    else:
        stop_server(embedded_folder(settings))
        console.print("Stopped.")


def _serves_others(settings: Settings) -> bool:
    """Whether somebody is connected to the embedded server, once those just stopped have had time to leave."""
    from cleverbetter_dagster.store.database import embedded_folder
    from cleverbetter_dagster.store.embedded import running_server

    server = running_server(embedded_folder(settings))
    if server is None:
        return False
    others = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + LEAVE_TIMEOUT_SECONDS
    with closing(server.connect()) as connection:
        while found := connection.execute(others).fetchone():
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    return found is not None


def _detach(settings: Settings, mlflow: bool, console: Console) -> None:
    log = settings.state_folder / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cleverbetter_dagster.cli.main", "up", *([] if mlflow else ["--no-mlflow"])]
    command += ["--port", str(settings.dagster_port), "--mlflow-port", str(settings.mlflow_port)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    with console.status("starting"):
        while (record := read_record(record_path(settings))) is None or record.up.pid != child.pid or not record.ready:
            if child.poll() is not None:
                raise ServiceFailed(log.read_text().strip().removeprefix("Error: "))
            time.sleep(POLL_SECONDS)
    console.print(_addresses(settings, record.services))
    console.print("`cleverbetter down` stops everything.")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the lock of `up`, which the kernel releases when `up` dies, however it dies."""
    record = read_record(record_path(settings))
    with (settings.state_folder / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            urls = ", ".join(f"{s.name} at {s.url}" for s in record.services if s.url) if record else ""
            raise AlreadyUp(
                f"`cleverbetter up` runs already for {settings.home}: {urls or 'it is starting'}. "
                "`cleverbetter down` stops it."
            ) from None
        if record and (left := processes_of(record.token)):
            raise AlreadyUp(
                f"An earlier `cleverbetter up` for {settings.home} was killed and left {len(left)} processes "
                "running. `cleverbetter down` stops them."
            )
        yield


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Being asked to end, or losing the terminal, is what Ctrl-C is."""
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _port(wanted: int, name: str, console: Console) -> int:
    port = free_port(wanted)
    if port != wanted:
        console.print(f"[yellow]Port {wanted} is taken by something else; {name} takes {port}.")
    return port


def _addresses(settings: Settings, services: tuple[ProcessRecord, ...]) -> Table:
    from cleverbetter_dagster.store.database import configured_target, embedded_folder
    from cleverbetter_dagster.store.embedded import running_server

    table = Table(title=f"cleverbetter in {settings.home}", title_justify="left")
    table.add_column("service")
    table.add_column("where", overflow="fold")
    for service in services:
        table.add_row(service.name, service.url or f"process {service.pid}")
    if settings.mlflow_tracking_uri:
        table.add_row("MLflow", "where MLFLOW_TRACKING_URI says")
    target, server = configured_target(settings, "rows"), running_server(embedded_folder(settings))
    table.add_row("PostgreSQL", str(target) if target else f"embedded, port {server.port if server else '?'}")
    table.add_row("logs", str(settings.state_folder / "logs"))
    return table


def _end_of(log: Path, lines: int = 15) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"The end of {log}:\n" + "\n".join(text.splitlines()[-lines:])
