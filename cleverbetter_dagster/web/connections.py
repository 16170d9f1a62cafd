"""Connections of the servers: one whose request's head does not arrive in time is dropped. uvicorn has no such limit.

uvicorn takes `TimedConnection` as its HTTP protocol, in `uvicorn.run(http=...)` or as `--http PROTOCOL`. It is built on
h11, which also bounds the size of a head; httptools does not, and takes the host of an absolute target for a path.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from cleverbetter_dagster.web.refusals import refused

PROTOCOL = "cleverbetter_dagster.web.connections:TimedConnection"

HEAD_SECONDS = 10.0
"""From the start of a connection, or from the first byte of a further request on it, to the end of the head."""


class TimedConnection(H11Protocol):
    """A connection that waits `HEAD_SECONDS` for a request's head, however slowly its bytes come."""

    _timer: asyncio.TimerHandle | None = None
    _began = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._began = True
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self.transport.get_protocol() is self:  # otherwise it is a websocket's now
            self._wait()

    def on_response_complete(self) -> None:
        self._began = False
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _wait(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEAD_SECONDS, self._drop)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self) -> None:
        if self._began:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The head of the request did not arrive in time.")
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer without a request; nothing more is read."""
        answer = refused(status, detail, {"Connection": "close"})
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        head += [name + b": " + value for name, value in answer.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()
