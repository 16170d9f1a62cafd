"""An MLflow that cannot be used is named in one sentence, soon, before work and in the middle of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from cleverbetter_dagster.errors import SettingsError, TrackingUnavailable
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking import availability, client
from cleverbetter_dagster.store.tracking.availability import require_answer
from cleverbetter_dagster.store.tracking.client import mlflow_client, require_mlflow, tracking_uri
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster.web.address import free_port
from cleverbetter_dagster_tests.support.http_server import answering

HTML = b"<html>Welcome</html>"
LOGIN = "ann:hunter2@"
PATIENCE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def _one_try(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "server" not in request.fixturenames:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def refusal(address: str) -> str:
    """What is said of an address, which must come in time and without the password."""
    started = time.monotonic()
    with pytest.raises((TrackingUnavailable, SettingsError)) as refused:
        require_answer(address)
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert "MLFLOW_TRACKING_URI" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    return f"{refused.type.__name__}: {refused.value}"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that drops whatever asks for a connection: its queue is full."""
    with ExitStack() as queue, socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        for _ in range(3):
            waiting = queue.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (f"http://{LOGIN}127.0.0.1:1", "TrackingUnavailable: MLflow does not answer at http://127.0.0.1:1 (MLFLOW"),
        (f"postgresql+psycopg2://{LOGIN}127.0.0.1:1/x", "TrackingUnavailable: MLflow does not answer at postgresql"),
        (
            "http://no-such-host.invalid:5000",
            "TrackingUnavailable: MLflow does not answer at http://no-such-host.invalid",
        ),
        (f"{LOGIN}localhost:5000", "SettingsError: MLflow cannot be used at localhost:5000 (MLFLOW_TRACKING_URI)"),
        (f"htp://{LOGIN}localhost:5000", "SettingsError: MLflow cannot be used at htp://localhost:5000"),
        ("http://[::1", "SettingsError: MLflow cannot be used"),
        ("mlruns", "SettingsError: MLflow cannot be used at mlruns"),
    ],
)
def test_an_address_without_mlflow_is_named(address: str, says: str) -> None:
    assert says in refusal(address)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, b"", "TrackingUnavailable: MLflow does not answer at http://127.0.0.1"),
        (503, HTML, "too many 503 error responses"),
        (401, b"", "SettingsError: MLflow at http://127.0.0.1"),
        (403, HTML, "refuses this user. Set MLFLOW_TRACKING_USERNAME"),
        (404, HTML, "SettingsError: MLflow cannot be used"),
        (200, HTML, "SettingsError: MLflow cannot be used"),
    ],
)
def test_what_a_stranger_answers_is_told(status: int, body: bytes, says: str) -> None:
    with answering(status, body) as port:
        assert says in refusal(f"http://{LOGIN}127.0.0.1:{port}")


def test_https_at_a_port_without_it_is_told() -> None:
    with answering(200, HTML) as port:
        assert "SSL" in refusal(f"https://127.0.0.1:{port}")


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
def test_silence_ends_in_time(silent_port: int, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(availability, "ANSWER_SECONDS", 1.0)
    assert "no answer within 1 s" in refusal(f"{scheme}://{LOGIN}127.0.0.1:{silent_port}/x")


def test_a_black_hole_ends_in_time(black_hole: int) -> None:
    assert "no answer within 8 s" in refusal(f"http://127.0.0.1:{black_hole}")


def test_a_dead_proxy_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "through the proxy of the environment: Connection refused" in refusal("http://mlflow.invalid:5000")


def test_an_answer_counts_for_a_limited_time(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(client, "require_answer", asked.append)
    settings = tracked.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:2"})
    now = iter([60.0, 89.0, 90.0])
    monkeypatch.setattr(client.time, "monotonic", lambda: next(now))
    for _ in range(3):
        require_mlflow(settings)
    assert asked == ["http://127.0.0.1:2"] * 2


def test_the_one_database_is_not_asked_twice(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "require_answer", lambda address: pytest.fail(address))
    assert mlflow_client(tracked).get_experiment("0").name == "Default"


@pytest.fixture
def server(tracked: Settings) -> Iterator[tuple[Settings, subprocess.Popen[bytes]]]:
    """A real tracking server on `tracked`, and settings that name it."""
    port = free_port(52000)
    options = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    environment = {"MLFLOW_BACKEND_STORE_URI": tracking_uri(tracked), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", *options, "--artifacts-destination", str(tracked.home)]
    with subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True) as process:
        settings = tracked.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{port}"})
        deadline = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield settings, process
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def dying(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """A run whose server is killed in the middle."""
    with start_run(settings, RunSpec("ensemble", "2023-12", "abc")) as run:
        run.log_file("a.txt", b"text")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        run.log_file("b.txt", b"text")


def test_a_server_that_dies_ends_a_run_in_time(server: tuple[Settings, subprocess.Popen[bytes]]) -> None:
    started = time.monotonic()
    with pytest.raises(TrackingUnavailable, match=r"http://127.0.0.1:\d+ \(MLFLOW_TRACKING_URI\): Connection refused"):
        dying(*server)
    with pytest.raises(TrackingUnavailable, match="Connection refused"):
        load_model(server[0], "models:/ensemble/1")
    assert time.monotonic() - started < 60
