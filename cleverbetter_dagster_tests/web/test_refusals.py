"""What fails behind the guard: answers and logs hold no page and no secret."""

import asyncio
import logging
import time
from collections.abc import Callable

import pytest
import requests
import websockets
from websockets.exceptions import ConnectionClosedError

from cleverbetter_dagster.web.refusals import FAILED
from cleverbetter_dagster_tests.web.doors import asked, assert_refused


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Waits until the server has logged a text, and gives all it has logged."""
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)

    def wait(text: str) -> str:
        deadline = time.monotonic() + 30
        while text not in caplog.text:
            assert time.monotonic() < deadline, caplog.text
            time.sleep(0.01)
        return caplog.text

    return wait


@pytest.mark.parametrize("path", ["raised", "page"])
def test_a_failure_shows_neither_page_nor_secret(open_door: str, path: str, logged: Callable[[str], str]) -> None:
    response = asked(f"{open_door}/fail/{path}")
    assert_refused(response, 500)
    assert response.json()["detail"] == FAILED
    text = logged(f"GET /fail/{path} failed")
    assert "postgresql://ann:***@db/x" in text and "Tr0ub4dor" not in text


def test_a_failure_that_programs_read_keeps_its_form(open_door: str) -> None:
    response = asked(f"{open_door}/fail/json")
    assert response.status_code == 500
    assert response.json() == {"error_code": "INTERNAL_ERROR", "message": "no route to postgresql://ann:***@db/x"}


def test_a_failure_halfway_closes_the_connection(open_door: str, logged: Callable[[str], str]) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        asked(f"{open_door}/fail/halfway/")
    assert "Tr0ub4dor" not in logged("AnswerAborted: GET /fail/halfway/ failed")


def test_a_failure_in_a_websocket_is_logged_without_secrets(open_door: str, logged: Callable[[str], str]) -> None:
    async def talk() -> None:
        async with websockets.connect(open_door.replace("http", "ws") + "/fail/socket", proxy=None) as client:
            await client.recv()

    with pytest.raises(ConnectionClosedError):
        asyncio.run(talk())
    assert "Tr0ub4dor" not in logged("AnswerAborted: websocket /fail/socket failed")
