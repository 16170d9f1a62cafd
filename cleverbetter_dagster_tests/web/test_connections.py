"""Connections whose request never comes to an end are dropped, and no others."""

import asyncio
import time
from contextlib import ExitStack, closing

import pytest
import websockets

from cleverbetter_dagster.web import connections
from cleverbetter_dagster_tests.web.doors import asked, connection_to


def test_connections_that_never_finish_a_head_are_dropped(open_door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(connection_to(open_door))) for _ in range(200)]
        for client in clients[1:]:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        assert asked(open_door).status_code == 200
        for _ in range(4):  # trickling does not help
            time.sleep(0.1)
            clients[-1].sendall(b"x")
        answers = [client.recv(4096) for client in clients]
    assert answers[0] == b""
    assert all(answer.startswith(b"HTTP/1.1 408") and b'{"detail":' in answer for answer in answers[1:])


def test_a_further_head_is_waited_for_no_longer(open_door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    with closing(connection_to(open_door)) as client:
        client.sendall(b"GET /runs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(4096).endswith(b"GET /runs 0")
        client.sendall(b"GET /")
        assert client.recv(4096).startswith(b"HTTP/1.1 408")


def test_an_answer_may_take_longer_than_a_head(open_door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    assert asked(f"{open_door}/slow").text == "slow"

    async def talk() -> str:
        async with websockets.connect(open_door.replace("http", "ws") + "/socket", proxy=None) as client:
            await asyncio.sleep(0.5)
            await client.send("hello")
            return str(await client.recv())

    assert asyncio.run(talk()) == "hello"


def test_what_is_no_http_is_refused_in_the_one_form(open_door: str) -> None:
    with closing(connection_to(open_door)) as client:
        client.sendall(b"nonsense\r\n\r\n")
        received = client.recv(4096)
    assert received.startswith(b"HTTP/1.1 400") and b'{"detail":' in received
