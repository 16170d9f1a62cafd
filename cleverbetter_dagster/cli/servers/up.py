"""`cleverbetter up`: start what a person needs, say where it is, stop all of it on Ctrl-C."""

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ResultTable, VisibleConsole, print_json, progress_console
from cleverbetter_dagster.cli.servers.database_lock import AlreadyUp, DatabaseLock
from cleverbetter_dagster.cli.servers.first_training import first_training
from cleverbetter_dagster.cli.servers.processes import (
    api_service,
    code_service,
    daemon_service,
    mlflow_service,
    webserver_service,
)
from cleverbetter_dagster.cli.servers.status import mlflow_trouble
from cleverbetter_dagster.cli.servers.supervisor import POLL_SECONDS, ServiceFailed, Supervisor
from cleverbetter_dagster.cli.servers.worker import require_cluster
from cleverbetter_dagster.proxies import call_directly
from cleverbetter_dagster.settings import Settings, load_settings, variable_of
from cleverbetter_dagster.web.address import LOOPBACK, Address, check_host, free_port
from cleverbetter_dagster.web.up_processes import (
    ProcessRecord,
    UpRecord,
    processes_of,
    read_record,
    record_path,
    stop_processes,
)

PROGRAM = (sys.executable, "-m", "cleverbetter_dagster.cli.main")
LEAVE_TIMEOUT_SECONDS = 2.0


def up(
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback take a token.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="Port of Dagster's UI.", min=1, max=65535)] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="Port of MLflow's UI.", min=1, max=65535)] = None,
    api_port: Annotated[int | None, typer.Option(help="Port of the REST API.", min=1, max=65535)] = None,
    mlflow: Annotated[bool, typer.Option(help="Whether to start MLflow's UI.")] = True,
    workers: Annotated[
        str | None, typer.Option(help="Redis of the workers that execute runs (CLEVERBETTER_WORKERS_URL).")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything answers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start PostgreSQL, MLflow, Dagster's web UI and its daemon, and the REST API; Ctrl-C stops them."""
    from cleverbetter_dagster.store.home import prepare_home

    if workers:
        os.environ[variable_of("workers_url")] = workers  # what `up` starts reads it
    settings, console = load_settings(), progress_console(quiet=True) if as_json else VisibleConsole()
    if settings.workers_url:
        require_cluster(settings)
    ports = {
        "dagster_port": port or settings.dagster_port,
        "mlflow_port": mlflow_port or settings.mlflow_port,
        "api_port": api_port or settings.api_port,
    }
    settings = settings.model_copy(update=ports)
    check_host(settings.api_token, host)
    prepare_home(settings)
    call_directly(os.environ, [host])  # the services, and what asks them, inherit it
    if detach:
        _detach(settings, host, mlflow, console)
        return
    with _alone(settings), _signals_interrupt(), tempfile.TemporaryDirectory(prefix="cleverbetter-") as folder:
        _run(settings, _Servers(host, mlflow, Path(folder)), console)


@dataclass(frozen=True)
class _Servers:
    """Where the servers listen, whether MLflow is among them, and the folder of the code server's socket."""

    host: str
    mlflow: bool
    folder: Path


def _run(settings: Settings, servers: _Servers, console: Console) -> None:
    supervisor = Supervisor(settings, secrets.token_hex(16))
    record = UpRecord(ProcessRecord.of("cleverbetter up", os.getpid()), supervisor.token, False, ())
    record.write(record_path(settings))
    lock = DatabaseLock(settings)
    try:
        with console.status("starting PostgreSQL"):
            lock.hold()
        _start_all(supervisor, servers, console)
        _show(settings, supervisor.records, console)
        console.print("Ctrl-C stops everything.")
        replace(record, ready=True, services=supervisor.records).write(record_path(settings))
        while True:
            if supervisor.tend(partial(console.print, style="yellow", markup=False, soft_wrap=True)):
                replace(record, ready=True, services=supervisor.records).write(record_path(settings))
            lock.keep()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        console.print()
    finally:
        lock.release()
        _stop_all(supervisor, console)


def _start_all(supervisor: Supervisor, servers: _Servers, console: Console) -> None:
    from cleverbetter_dagster.store.postgres.database import database_url
    from cleverbetter_dagster.store.tracking.places import artefact_address, shared_storage

    settings = supervisor.settings
    if storage := shared_storage(settings):
        storage.require_usable()
    supervisor.watch_database()
    started = []
    if servers.mlflow and settings.mlflow_tracking_uri is None:  # slow to start, and needs none of the others
        url, address = database_url(settings, "mlflow"), _address(servers, settings.mlflow_port, "MLflow", console)
        started.append(supervisor.start(mlflow_service(settings, url, artefact_address(settings), address)))
        settings = settings.model_copy(update={"mlflow_port": address.port})
    with console.status("starting Dagster: loading the definitions"):
        supervisor.wait_for(supervisor.start(code_service(settings, servers.folder)))
    with console.status("starting Dagster: web UI"):
        address = _address(servers, settings.dagster_port, "Dagster", console)
        webserver = webserver_service(settings, servers.folder, address)
        supervisor.wait_for(supervisor.start(webserver))
    started.append(supervisor.start(daemon_service(settings, servers.folder, str(webserver.url))))
    address = _address(servers, settings.api_port, "the API", console)
    started.append(supervisor.start(api_service(settings, str(webserver.url), address)))
    for service in started:
        with console.status(f"starting {service.name}"):
            supervisor.wait_for(service)


def _stop_all(supervisor: Supervisor, console: Console) -> None:
    from cleverbetter_dagster.store.postgres.database import embedded_folder
    from cleverbetter_dagster.store.postgres.embedded import stop_server

    settings = supervisor.settings
    with console.status("stopping; Ctrl-C again kills"):
        try:
            stop_processes(supervisor.token)
        except KeyboardInterrupt:
            stop_processes(supervisor.token, timeout_seconds=0)
    record_path(settings).unlink(missing_ok=True)
    if not supervisor.records:
        return
    if settings.uses_embedded_database and _serves_others(settings):
        console.print("Stopped, except PostgreSQL, which others are using; `cleverbetter down` stops it.")
        return
    if settings.uses_embedded_database:
        stop_server(embedded_folder(settings))
    console.print("Stopped.")


def _serves_others(settings: Settings) -> bool:
    """Whether somebody is connected to the embedded server, once those just stopped have had time to leave."""
    from cleverbetter_dagster.store.postgres.database import embedded_folder
    from cleverbetter_dagster.store.postgres.embedded import running_server

    server = running_server(embedded_folder(settings))
    if server is None:
        return False
    others = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + LEAVE_TIMEOUT_SECONDS
    with closing(server.connect()) as connection:
        while (other_client := connection.execute(others).fetchone()) and time.monotonic() < deadline:
            time.sleep(0.1)
    return other_client is not None


def _detach(settings: Settings, host: str, mlflow: bool, console: Console) -> None:
    log = settings.state_folder / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    ports = {"--port": settings.dagster_port, "--mlflow-port": settings.mlflow_port, "--api-port": settings.api_port}
    options = [text for name, port in ports.items() for text in (name, str(port))]
    command = [*PROGRAM, "up", "--host", host, *options, "--mlflow" if mlflow else "--no-mlflow"]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    with console.status("starting"):
        while not (record := read_record(record_path(settings))) or record.up.pid != child.pid or not record.ready:
            if child.poll() is not None:
                raise ServiceFailed(log.read_text().strip().removeprefix("Error: "))
            time.sleep(POLL_SECONDS)
    _show(settings, record.services, console)
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


def _address(servers: _Servers, wanted: int, name: str, console: Console) -> Address:
    port = free_port(wanted, servers.host)
    if port != wanted:
        console.print(f"[yellow]Port {wanted} is taken by something else; {name} takes {port}.")
    return Address(servers.host, port)


def _show(settings: Settings, services: tuple[ProcessRecord, ...], console: Console) -> None:
    """Where everything is: a table, or where the console is quiet, JSON on standard output."""
    from cleverbetter_dagster.store.postgres.database import configured_target, embedded_folder
    from cleverbetter_dagster.store.postgres.embedded import running_server

    where = {service.name: service.url or f"process {service.pid}" for service in services}
    target, server = configured_target(settings, "rows"), running_server(embedded_folder(settings))
    where["PostgreSQL"] = str(target) if target else f"embedded, port {server.port if server else '?'}"
    if console.quiet:
        facts = {"home": settings.home, "state_folder": settings.state_folder, "services": where}
        print_json({**facts, "first_training": first_training(settings)})
        return
    if settings.mlflow_tracking_uri:
        where["MLflow"] = "where MLFLOW_TRACKING_URI says"
    table = ResultTable("", ("service", "where"))
    for row in where.items():
        table.add_row(*row)
    console.print(table)
    console.print(f"State and logs are in {settings.state_folder}", soft_wrap=True, highlight=False)
    if trouble := mlflow_trouble(settings):
        console.print(trouble, style="yellow", markup=False, soft_wrap=True)
    if announcement := first_training(settings):
        console.print(announcement, style="bold", markup=False, highlight=False, soft_wrap=True)
