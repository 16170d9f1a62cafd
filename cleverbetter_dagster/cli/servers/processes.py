"""The services `cleverbetter up` runs beside PostgreSQL: how each is started, and how it shows that it answers."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.web.address import Address

MODULE = "cleverbetter_dagster.definitions"
LOG_LIMIT_BYTES = 10_000_000
ANSWER_TIMEOUT_SECONDS = 5.0

_DAEMON_QUERY = "{instance{daemonHealth{allDaemonStatuses{required lastHeartbeatTime}}}}"


@dataclass(frozen=True, eq=False)
class Service:
    """A process to start, and how to know that it serves.

    Attributes:
        children_go_on: whether what it started goes on when it has ended and is started again: runs do.
    """

    name: str
    command: tuple[str, ...]
    answers: Callable[[], bool] = field(repr=False)
    log: Path
    url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds passwords
    children_go_on: bool = False

    def environment_in(self, home: Path) -> dict[str, str]:
        """The environment that it runs with, in the folder `home`. Holds passwords."""
        own = {
            "DAGSTER_HOME": str(home),
            "PWD": str(home),  # Dagster reads the .env of its folder, and ours says DAGSTER_HOME=${PWD}
            "DAGSTER_DISABLE_TELEMETRY": "yes",  # dagster.yaml turns it off, but not the empty folders it makes
            "PYTHONUNBUFFERED": "1",
        }
        return {**os.environ, **own, **self.environment}

    def start(self, home: Path, token: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start it in `home` and in a session of its own: the terminal's Ctrl-C is for `up` alone."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command,
                cwd=home,
                env={**self.environment_in(home), **token},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def mlflow_service(settings: Settings, backend_url: str, artefacts: str, address: Address) -> Service:
    """MLflow's UI and tracking server. One worker without job execution needs 0.5 GB; the default, 3.2 GB.

    It serves no files: who may write a model's files may run code here. Clients on this machine use the folder itself.
    """
    from cleverbetter_dagster.web.connections import PROTOCOL
    from cleverbetter_dagster.web.mlflow_ui import APP_NAME

    command = (
        *(sys.executable, "-m", "mlflow", "server", *address.options, "--workers", "1", "--app-name", APP_NAME),
        *("--no-serve-artifacts", "--default-artifact-root", artefacts),
        *("--uvicorn-opts", f"--http {PROTOCOL} --no-proxy-headers --no-server-header"),
    )
    environment = {
        "MLFLOW_BACKEND_STORE_URI": backend_url,  # not an argument: everybody can read those
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # With a token any name may be used, which MLflow's own check does not know. The guard stands before it.
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true" if settings.api_token else "false",
    }
    log = _log(settings, "mlflow")
    return Service("MLflow", command, lambda: _got(f"{address.url}/health"), log, address.url, environment)


def code_service(settings: Settings, folder: Path) -> Service:
    """Our definitions, loaded once for the UI and the daemon; else each would load them, the daemon every minute.

    Its socket, which lets whoever reaches it run our code, and the workspace file that names it are in `folder`,
    which only we may enter.
    """
    socket_path = code_socket(folder)
    write_workspace(folder)
    command = (
        *(sys.executable, "-m", "dagster", "code-server", "start", "--socket", str(socket_path), "-m", MODULE),
        *("--location-name", MODULE, "--use-python-environment-entry-point"),
    )
    # Sensors and schedules run unless the settings switch them off. Links to MLflow use the port of this `up`.
    environment = {
        variable_of("automation"): "off" if settings.automation is False else "on",
        variable_of("mlflow_port"): str(settings.mlflow_port),
    }
    log = _log(settings, "code")
    return Service(
        "Dagster code", command, lambda: _accepts(socket_path), log, environment=environment, children_go_on=True
    )


def code_socket(folder: Path) -> Path:
    """Where the code server listens."""
    return folder / "code.sock"


def write_workspace(folder: Path) -> None:
    """Write the workspace file that names the code server of `folder`; whole or not at all."""
    server = {"location_name": MODULE, "socket": str(code_socket(folder))}
    fresh = _workspace(folder).with_suffix(f".{os.getpid()}.part")
    fresh.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # JSON is YAML
    fresh.replace(_workspace(folder))


def webserver_service(settings: Settings, folder: Path, address: Address) -> Service:
    """Dagster's web UI."""
    command = (
        *(sys.executable, "-m", "cleverbetter_dagster.web.dagster_ui", *address.options),
        *("-w", str(_workspace(folder))),
    )
    url = address.url
    return Service("Dagster", command, lambda: _got(f"{url}/server_info"), _log(settings, "webserver"), url)


def daemon_service(settings: Settings, folder: Path, webserver_url: str, since: float | None = None) -> Service:
    """Dagster's daemon: schedules, sensors, the run queue. It has no address; its heartbeats are asked for.

    `since` when one counts (Unix seconds): by default now.
    """
    command = (sys.executable, "-m", "dagster._daemon", "run", "-w", str(_workspace(folder)))
    started = time.time() if since is None else since
    return Service(
        "Dagster daemon", command, lambda: _beats(settings, webserver_url, started), _log(settings, "daemon")
    )


def api_service(settings: Settings, webserver_url: str, address: Address) -> Service:
    """The REST API, which launches runs through the web UI's server."""
    command = (sys.executable, "-m", "cleverbetter_dagster.cli.main", "api", *address.options)
    # Its pages link to MLflow at the port of this `up`.
    environment = {variable_of("dagster_url"): webserver_url, variable_of("mlflow_port"): str(settings.mlflow_port)}
    url = address.url
    return Service("API", command, lambda: _got(f"{url}/api/v1/health"), _log(settings, "api"), url, environment)


def _log(settings: Settings, name: str) -> Path:
    return settings.state_folder / "logs" / f"{name}.log"


def _workspace(folder: Path) -> Path:
    return folder / "workspace.yaml"


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _got(url: str) -> bool:
    import requests

    try:
        return requests.get(url, timeout=ANSWER_TIMEOUT_SECONDS).status_code == 200
    except requests.RequestException:
        return False


def _beats(settings: Settings, webserver_url: str, since: float) -> bool:
    """Whether every daemon that this instance needs has sent a heartbeat since (Unix seconds)."""
    import requests

    query = {"query": _DAEMON_QUERY}
    try:
        answer = requests.post(
            f"{webserver_url}/graphql", json=query, headers=settings.token_header, timeout=ANSWER_TIMEOUT_SECONDS
        )
        answer.raise_for_status()
        daemons = answer.json()["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    except requests.RequestException:
        return False
    beats = [daemon["lastHeartbeatTime"] or 0.0 for daemon in daemons if daemon["required"]]
    return min(beats, default=0.0) >= since
