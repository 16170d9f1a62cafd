"""The one form of every refusal: a status, and `{"detail": "..."}`. What fails behind the guard is answered so too."""

import logging
import traceback
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cleverbetter_dagster.escaping import visible
from cleverbetter_dagster.redaction import redacted

FAILED = "Something went wrong here; the server's log says what."
JSON, PAGE = "application/json", "text/html"
MOST_FAILURE_BYTES = 1 << 20
LOGGED_CHARACTERS = 2000

log = logging.getLogger("uvicorn.error")  # the log that every one of our servers writes


def refused(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A refusal in the one form that all have."""
    return JSONResponse({"detail": detail}, status, headers)


class AnswerAborted(Exception):
    """An answer that has begun and cannot be completed: the server closes its connection."""


class PlainFailures:
    """ASGI middleware: a failure behind it is answered without page, traceback or secret, and logged without secrets.

    An answer of status 500 or more that is JSON stays, but for its secrets: MLflow's and Dagster's programs read it. So
    does a page that says what is away, where the application writes such pages itself.
    """

    def __init__(self, app: ASGIApp, *, has_pages: bool = False) -> None:
        self._app, self._kinds = app, (JSON, PAGE) if has_pages else (JSON,)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer, asked = _Answer(send, self._kinds), f"{scope.get('method', scope['type'])} {scope['path']}"
        try:
            await self._app(scope, receive, answer.send)
        except Exception:  # noqa: BLE001  logged whole but for secrets, and answered
            log.error("%s", visible(redacted(f"{asked} failed\n{traceback.format_exc()}")))
            if answer.is_begun and not answer.is_complete:
                raise AnswerAborted(f"{visible(asked)} failed, as said above") from None
            if not answer.is_begun and scope["type"] == "http":
                await refused(HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)(scope, receive, send)
        else:
            if answer.replaced:
                log.error("%s", visible(redacted(f"{asked} failed: {answer.replaced}")))


class _Answer:
    """What an application answers, passed on at once unless it is a failure, which is held until it is complete.

    Attributes:
        is_begun, is_complete: whether a part of it, or all, was passed on.
        replaced: the text of a failure that was of another kind than `kinds`.
    """

    def __init__(self, send: Send, kinds: tuple[str, ...]) -> None:
        self._send, self._kinds = send, kinds
        self._held: Message | None = None
        self._body = b""
        self.is_begun = self.is_complete = False
        self.replaced = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._held = message
            return
        if self._held is not None:
            if len(self._body) <= MOST_FAILURE_BYTES:
                self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            await self._pass_on_failure(self._held)
        else:
            self.is_begun = True
            await self._send(message)
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def _pass_on_failure(self, start: Message) -> None:
        headers, text = MutableHeaders(raw=list(start["headers"])), self._body.decode("utf-8", "replace")
        stays = headers.get("content-type", "").startswith(self._kinds)
        if stays and "content-encoding" not in headers and len(self._body) <= MOST_FAILURE_BYTES:
            body = redacted(text).encode()
            headers["content-length"] = str(len(body))
        else:
            answer = refused(start["status"], FAILED)
            self.replaced = text[:LOGGED_CHARACTERS] or str(start["status"])
            body, headers = bytes(answer.body), answer.headers
        self.is_begun = True
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})
