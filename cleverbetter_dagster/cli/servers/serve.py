"""`cleverbetter serve`: one of the servers of `up`, in the foreground, for containers and supervisors of your own."""

import os
import signal
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import psutil
import typer

from cleverbetter_dagster.cli.output import ExitCode, progress_console
from cleverbetter_dagster.cli.servers.database_lock import AlreadyUp, DatabaseLock
from cleverbetter_dagster.cli.servers.processes import (
    Service,
    api_service,
    code_service,
    code_socket,
    daemon_service,
    mlflow_service,
    webserver_service,
    write_workspace,
)
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.proxies import call_directly
from cleverbetter_dagster.settings import Settings, load_settings, variable_of
from cleverbetter_dagster.web.address import LOOPBACK, Address, check_host

HEARTBEAT_SECONDS = 120.0
"""A daemon whose last heartbeat is older is not up. It sends one each half minute."""

LOOK_SECONDS = 1.0
STOP_SECONDS = 15.0

LONGEST_SOCKET = 107
"""Bytes that the path of a socket may have."""


class Server(StrEnum):
    """What can be served alone."""

    CODE = "code"
    WEBSERVER = "webserver"
    DAEMON = "daemon"
    MLFLOW = "mlflow"
    API = "api"


PORTS = {Server.WEBSERVER: "dagster_port", Server.MLFLOW: "mlflow_port", Server.API: "api_port"}
"""The settings with their ports; the others have none."""


def serve(
    server: Annotated[Server, typer.Argument(help="Which one.", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback take a token.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="Port to listen at.", min=1, max=65535)] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it answers: exit code 0 or 5.")] = False,
) -> None:
    """Serve one of the servers that `up` runs together, each on its own. They share DAGSTER_HOME on one machine.

    code: our definitions, which webserver and daemon ask through a socket in DAGSTER_HOME; runs are its children.
    webserver: Dagster's UI. daemon: schedules, sensors, the run queue. mlflow: MLflow's UI. api: the REST API.
    """
    from cleverbetter_dagster.store.home import prepare_home

    settings = load_settings()
    check_host(settings.api_token, host)
    folder = settings.state_folder / "serve"
    if check:
        service = service_of(server, settings, folder, _address(server, settings, host, port))
        if not service.answers():
            progress_console().print(f"{service.name} does not answer.")
            raise typer.Exit(ExitCode.UNAVAILABLE)
        return
    home = prepare_home(settings)
    folder.mkdir(mode=0o700, exist_ok=True)
    write_workspace(folder)
    call_directly(os.environ, [host])
    service = service_of(server, settings, folder, _address(server, settings, host, port))
    if server is Server.CODE:
        _require_free(code_socket(folder), service)
    if server in (Server.CODE, Server.DAEMON):
        _supervise(service, home, DatabaseLock(settings) if server is Server.DAEMON else None)
    os.chdir(home)
    os.execve(service.command[0], service.command, service.environment_in(home))


def service_of(server: Server, settings: Settings, folder: Path, address: Address) -> Service:
    """A server as `up` would start it, with the code server's socket in `folder`."""
    webserver = settings.dagster_address
    if server is Server.CODE:
        return code_service(settings, folder)
    if server is Server.WEBSERVER:
        return webserver_service(settings, folder, address)
    if server is Server.DAEMON:
        return daemon_service(settings, folder, webserver, time.time() - HEARTBEAT_SECONDS)
    if server is Server.API:
        return api_service(settings, webserver, address)
    return _mlflow(settings, address)


def _mlflow(settings: Settings, address: Address) -> Service:
    if settings.mlflow_tracking_uri is not None:
        raise SettingsError("MLFLOW_TRACKING_URI is set, so MLflow is served there. Unset it, or serve no other.")
    from cleverbetter_dagster.store.postgres.database import database_url
    from cleverbetter_dagster.store.tracking.places import artefact_address

    return mlflow_service(settings, database_url(settings, "mlflow"), artefact_address(settings), address)


def _address(server: Server, settings: Settings, host: str, port: int | None) -> Address:
    return Address(host, port or (getattr(settings, PORTS[server]) if server in PORTS else 0))


def _supervise(service: Service, home: Path, lock: DatabaseLock | None) -> NoReturn:
    """Run a server, with the lock of `up` if one is given, and end it with all that it started.

    Dagster's code server does not end when it is told to; then it is killed.
    """
    if lock is not None:
        lock.hold()
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: told.append(received))
    child = psutil.Popen(service.command, cwd=home, env=service.environment_in(home), start_new_session=True)
    try:
        while child.poll() is None and not told:
            if lock is not None:
                lock.keep()
            with suppress(psutil.TimeoutExpired):
                child.wait(LOOK_SECONDS)
    finally:
        _end_all(child)
        if lock is not None:
            lock.release()
    raise typer.Exit(ExitCode.DONE if told else child.returncode or ExitCode.FAILED)


def _end_all(child: psutil.Popen) -> None:
    with suppress(psutil.NoSuchProcess):
        processes = [child, *child.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(processes, STOP_SECONDS)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, STOP_SECONDS)


def _require_free(socket: Path, service: Service) -> None:
    if len(os.fsencode(socket)) > LONGEST_SOCKET:
        raise SettingsError(
            f"The path {socket} is too long for a socket: {LONGEST_SOCKET} bytes at most. Set {variable_of('home')} to "
            "a folder with a shorter path."
        )
    if service.answers():
        raise AlreadyUp(f"A code server answers at {socket} already. Stop it, or let it serve.")
    socket.unlink(missing_ok=True)  # of one that was killed
