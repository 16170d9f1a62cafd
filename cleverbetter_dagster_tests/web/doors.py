"""An application that answers everything, and fails where it is asked to, behind the guard on a real server."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import requests
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from cleverbetter_dagster.web.address import LOOPBACK, Address, free_port
from cleverbetter_dagster.web.connections import PROTOCOL
from cleverbetter_dagster.web.guard import Door, Guard

SECRET = "postgresql://ann:***@db/x".replace("***", "Tr0ub4dor")
TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HTML = {"Accept": "text/html,*/*"}
DOOR = Door(open_paths=("/health",), most_body_bytes=1000, may_be_written=re.compile(r"/(?!files/).*"))
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def slow(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0.5)
    return PlainTextResponse("slow")


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} {request.url.path} {len(await request.body())}")


async def welcome_everybody(request: Request) -> JSONResponse:
    headers = {"Access-Control-Allow-Origin": "http://evil.example", "Access-Control-Allow-Credentials": "true"}
    return JSONResponse({}, headers=headers)


async def answer_before_reading(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.body", "body": b"begun"})


async def fail(request: Request) -> PlainTextResponse:
    raise ValueError(f"no route to {SECRET}")


async def fail_by_itself(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"<pre>Traceback: {SECRET}</pre>", 500)


async def fail_for_programs(request: Request) -> JSONResponse:
    return JSONResponse({"error_code": "INTERNAL_ERROR", "message": f"no route to {SECRET}"}, 500)


async def fail_halfway(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"abc", "more_body": True})
    raise ValueError(SECRET)


async def fail_in_a_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ValueError(SECRET)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@contextmanager
def served(token: str | None) -> Iterator[str]:
    early = Mount("/early", answer_before_reading)
    failing = Mount(
        "/fail",
        routes=[
            Route("/raised", fail),
            Route("/page", fail_by_itself),
            Route("/json", fail_for_programs),
            Mount("/halfway", fail_halfway),
            WebSocketRoute("/socket", fail_in_a_socket),
        ],
    )
    routes = [
        WebSocketRoute("/socket", echo),
        early,
        failing,
        Route("/slow", slow),
        Route("/welcome", welcome_everybody),
        Route("/{path:path}", answer, methods=METHODS),
    ]
    app = Guard(Starlette(routes=routes), SecretStr(token) if token else None, DOOR)
    port = free_port(45000)
    server = uvicorn.Server(
        uvicorn.Config(app, host=LOOPBACK, port=port, http=PROTOCOL, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield Address(LOOPBACK, port).url
    server.should_exit = True
    thread.join()


def asked(url: str, method: str = "GET", **options: object) -> requests.Response:
    return requests.request(method, url, timeout=30, allow_redirects=False, **options)  # type: ignore[arg-type]


def sent(url: str, *lines: str) -> bytes:
    """The beginning of the answer to a request that no client would write."""
    given = [*lines] if any(line.startswith("Host") for line in lines) else [*lines, "Host: localhost"]
    with closing(socket.create_connection((LOOPBACK, int(url.rpartition(":")[2])), timeout=30)) as client:
        client.sendall("\r\n".join([*given, "Connection: close", "", ""]).encode())
        return client.recv(4096)


def assert_refused(response: requests.Response, status: int) -> None:
    assert response.status_code == status
    assert list(response.json()) == ["detail"]


def connection_to(url: str) -> socket.socket:
    return socket.create_connection((LOOPBACK, int(url.rpartition(":")[2])), timeout=30)
