"""Calls to this machine pass a proxy by, whatever library makes them; calls to others still go through it."""

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
import requests
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cleverbetter_dagster.proxies import LOOPBACK, call_directly
from cleverbetter_dagster.store.channels.webhook import send_text

DEAD = "http://127.0.0.1:9"
"""A proxy that is not there."""

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_of_whoever_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Recorder(BaseHTTPRequestHandler):
    """Answers every request with 200, and keeps what was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """A port of loopback where an HTTP server listens, and the paths it was asked for."""
    handler = type("Handler", (Recorder,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port, handler.asked
        running.shutdown()


@pytest.fixture(scope="module")
def grpc_port() -> Iterator[int]:
    """A port of loopback where a gRPC server answers health checks."""
    running = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), running)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield port
    running.stop(0)


def by_urllib(host: str, port: int) -> int:
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
        return int(answer.status)


def by_requests(host: str, port: int) -> int:
    return requests.get(f"http://{host}:{port}/", timeout=5).status_code


def by_grpc(port: int) -> int:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        return int(check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True).status)


@pytest.mark.parametrize("call", [by_urllib, by_requests])
@pytest.mark.parametrize("proxy", PROXIES[:2])
def test_loopback_is_called_directly(
    server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch, proxy: str, call: Callable[[str, int], int]
) -> None:
    monkeypatch.setenv(proxy, DEAD)
    with pytest.raises(OSError, match=r"proxy|refused"):
        call("127.0.0.1", server[0])
    call_directly(os.environ)
    assert [call(host, server[0]) for host in ("127.0.0.1", "localhost")] == [200, 200]


def test_grpc_calls_loopback_directly(grpc_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    monkeypatch.setenv("no_grpc_proxy", "racing.example")  # then it does not read no_proxy
    call_directly(os.environ)
    assert by_grpc(grpc_port) == health_pb2.HealthCheckResponse.SERVING
    assert dict(os.environ)["no_grpc_proxy"].startswith("racing.example,localhost,")


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "LOCALHOST"])
def test_every_loopback_address_is_passed_by(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("all_proxy", DEAD)
    assert requests.utils.get_environ_proxies(f"http://{host}:5000/") == {"all": DEAD}
    call_directly(os.environ)
    assert requests.utils.get_environ_proxies(f"http://{host}:5000/") == {}


@pytest.mark.parametrize("proxy", PROXIES)
def test_every_proxy_variable_counts(proxy: str) -> None:
    environment = {proxy: DEAD}
    call_directly(environment)
    assert environment == {proxy: DEAD, "no_proxy": ",".join(LOOPBACK), "NO_PROXY": ",".join(LOOPBACK)}


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_exceptions_of_the_user_are_kept(name: str) -> None:
    environment = {"http_proxy": DEAD, name: "nas, .racing.example,localhost"}
    call_directly(environment)
    expected = "nas,.racing.example,localhost,127.0.0.1,127.0.0.0/8,::1,0.0.0.0"
    assert (environment["no_proxy"], environment["NO_PROXY"]) == (expected, expected)
    before = dict(environment)
    call_directly(environment)
    assert environment == before


@pytest.mark.parametrize(
    "environment", [{}, {"http_proxy": ""}, {"no_proxy": "nas"}, {"http_proxy": DEAD, "no_proxy": "*"}]
)
def test_nothing_is_added_where_loopback_is_direct_already(environment: dict[str, str]) -> None:
    changed = dict(environment)
    call_directly(changed)
    assert changed.get("no_proxy") == environment.get("no_proxy")


def test_other_hosts_still_go_through_the_proxy(server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    port, asked = server
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    call_directly(os.environ)
    assert send_text("http://hooks.invalid/racing", "Promoted: ensemble v1") is None
    assert asked == ["http://hooks.invalid/racing"]


def test_processes_inherit_it_from_importing_the_package(server: tuple[int, list[str]]) -> None:
    code = "import cleverbetter_dagster, sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)"
    command = [sys.executable, "-c", code, f"http://127.0.0.1:{server[0]}/"]
    subprocess.run(command, env={**os.environ, "http_proxy": DEAD}, check=True)
    assert server[1] == ["/"]
