"""`cleverbetter serve` runs what `up` runs, one server at a time, and says whether it answers."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import typer

from cleverbetter_dagster.cli.output import ExitCode
from cleverbetter_dagster.cli.servers import serve as serving
from cleverbetter_dagster.cli.servers.processes import Service, code_socket, mlflow_service
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.cli.conftest import Command, Done, command_in
from cleverbetter_dagster_tests.support.http_server import answering

TOKEN = "a-token-of-some-length"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in a home of its own, whose database does not answer."""
    return command_in(Settings(home=tmp_path, database_url="postgresql://127.0.0.1:1/x"), monkeypatch)  # type: ignore[arg-type]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the process was replaced by."""
    found: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)

    def execve(program: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        found.update(program=program, arguments=arguments, environment=environment, folder=os.getcwd())

    monkeypatch.setattr(os, "execve", execve)
    return found


@pytest.fixture
def with_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_API_TOKEN", TOKEN)


def serve(command: Command, *arguments: str) -> Done:
    return command("serve", *arguments)


@pytest.mark.parametrize(
    ("server", "module"),
    [("webserver", "cleverbetter_dagster.web.dagster_ui"), ("api", "cleverbetter_dagster.cli.main")],
)
def test_the_process_becomes_the_server(
    command: Command,
    executed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: str,
    module: str,
) -> None:
    monkeypatch.setenv("CLEVERBETTER_API_TOKEN", TOKEN)
    assert serve(command, server, "--host", "0.0.0.0", "--port", "4321").returncode == ExitCode.DONE
    assert executed["arguments"][:3] == (sys.executable, "-m", module)
    assert {"0.0.0.0", "4321"} <= set(executed["arguments"])
    assert executed["folder"] == executed["environment"]["DAGSTER_HOME"] == str(tmp_path)
    workspace = json.loads((tmp_path / ".cleverbetter" / "serve" / "workspace.yaml").read_text())
    (location,) = workspace["load_from"]
    assert location["grpc_server"]["socket"] == str(code_socket(tmp_path / ".cleverbetter" / "serve"))
    assert not any(TOKEN in argument for argument in executed["arguments"])


def test_without_a_token_only_this_machine_is_served(command: Command, executed: dict[str, Any]) -> None:
    refused = serve(command, "webserver", "--host", "0.0.0.0")
    assert refused.returncode == ExitCode.FAILED and "without a token" in refused.stderr
    assert executed == {}


@pytest.mark.parametrize("server", ["webserver", "mlflow", "api"])
def test_a_check_says_whether_it_answers(command: Command, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.setattr(serving, "_mlflow", lambda _, address: mlflow_service(Settings(), "x", "file:///x", address))
    with answering(200, b"{}") as port:
        assert serve(command, server, "--check", "--port", str(port)).returncode == ExitCode.DONE
    down = serve(command, server, "--check", "--port", str(port))
    assert down.returncode == ExitCode.UNAVAILABLE and "does not answer" in down.stderr


def test_a_mlflow_elsewhere_is_not_served(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    refused = serve(command, "mlflow", "--check")
    assert refused.returncode == ExitCode.FAILED and "MLFLOW_TRACKING_URI is set" in refused.stderr


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / ("long" * 25)
    refused = command_in(Settings(home=home, database_url="postgresql://127.0.0.1:1/x"), monkeypatch)("serve", "code")  # type: ignore[arg-type]
    assert refused.returncode == ExitCode.FAILED and "is too long for a socket" in refused.stderr


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals as they were before, afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    ("script", "told", "code"),
    [(STUBBORN, True, 0), ("raise SystemExit(3)", False, 3)],
    ids=["told to end", "ends itself"],
)
def test_a_server_ends_with_what_it_started(
    handlers: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, told: bool, code: int
) -> None:
    monkeypatch.setattr(serving, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.05)
    service = Service("x", (sys.executable, "-c", script), lambda: True, tmp_path / "log")
    if told:
        Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(typer.Exit) as caught:
        serving._supervise(service, tmp_path, None)
    assert caught.value.exit_code == code
