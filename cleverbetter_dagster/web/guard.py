"""The guard at every door: Dagster's web server, MLflow's and the REST API let in the same requests.

An attacker may reach a server on this machine through a browser on it: a page of another site may send requests, open
websockets, or give its own name this machine's address (DNS rebinding). A proxy on this machine makes everybody look
like this machine. So without a token only this machine's names are served, and nothing that came through a proxy. With
a token every request carries it, in a header or, in a browser, in the cookie that the login page sets. What a page of
another site made a browser send is always refused; following a link from there is allowed.
"""

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cleverbetter_dagster.web.address import TOKEN_VARIABLE, is_loopback
from cleverbetter_dagster.web.login import LOGIN_PATH, Login, is_right
from cleverbetter_dagster.web.refusals import PlainFailures, refused

SAFE = ("GET", "HEAD", "OPTIONS")

OF_A_PROXY = re.compile(
    r"forwarded|via|cdn-loop|x[-_]forwarded.*|x-original-forwarded-for|x-(real|client|cluster-client)-ip"
    r"|(true-client|cf-connecting|fly-client)-ip|x-envoy-external-address"
)

DECISIVE = ("host", "origin", "authorization", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "content-length")
"""Headers that decide who is let in: given twice, two readers could take different ones."""

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_ODD_PATH = re.compile(r"//|/\.{1,2}(?:/|$)|\\")
"""Another reader of such a path may take it for another one."""

BODY_TIMEOUT_SECONDS = 30.0
"""A request whose body is not complete by then is dropped: it would hold a connection, and memory, for ever."""

Refusal = tuple[HTTPStatus, str]
"""A status, and a sentence for whoever asked."""


@dataclass(frozen=True)
class Door:
    """What one server asks for besides the rules of all.

    Attributes:
        open_paths: paths that are answered without a token: whether the server is alive.
        most_body_bytes: no body may be larger.
        takes_json_only: a body must be declared as JSON.
        has_pages: the server writes pages itself that say what is away.
        may_be_written: the paths that are written to, as a pattern of the whole path; None: all.
    """

    open_paths: tuple[str, ...] = ()
    most_body_bytes: int = 16 << 20
    takes_json_only: bool = False
    has_pages: bool = False
    may_be_written: re.Pattern[str] | None = None


class Guard:
    """ASGI middleware: refuses requests and websockets before the application sees them.

    Every refusal is `{"detail": "..."}` with a status, and so is what fails behind it. A person's browser without a
    token is led to the login page.
    """

    def __init__(self, app: ASGIApp, token: SecretStr | None, door: Door) -> None:
        self.app, self.door = app, door
        self._token = token.get_secret_value() if token is not None else None
        self._login = Login(self._token) if self._token is not None else None
        self._inside = PlainFailures(self._with_bounded_body, has_pages=door.has_pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif answer is not None:
            await answer(scope, receive, send)
        else:
            await self._inside(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass; None: it may."""
        headers = Headers(scope=scope)
        refusal = (
            _of_the_form(scope, headers)
            or _of_the_sender(scope, headers, has_token=self._token is not None)
            or self._of_the_body(scope, headers)
        )
        if refusal is not None:
            return refused(*refusal)
        if self._token is None or scope["path"] in (*self.door.open_paths, LOGIN_PATH):
            return None
        if is_right(self._token, headers):
            return None
        if scope.get("method") == "GET" and "text/html" in headers.get("accept", ""):
            wanted = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            return RedirectResponse(f"{LOGIN_PATH}?next={quote(wanted, safe='')}", HTTPStatus.SEE_OTHER)
        return refused(
            HTTPStatus.UNAUTHORIZED,
            f"Give the token of {TOKEN_VARIABLE}, in the header Authorization: Bearer <token>.",
            {"WWW-Authenticate": "Bearer"},
        )

    def _of_the_body(self, scope: Scope, headers: Headers) -> Refusal | None:
        if scope.get("method", "GET") in SAFE or scope["path"] == LOGIN_PATH:
            return None
        if self.door.may_be_written and not self.door.may_be_written.fullmatch(scope["path"]):
            return HTTPStatus.FORBIDDEN, "This is not written over HTTP. Files go into their folder or store itself."
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return HTTPStatus.BAD_REQUEST, "Content-Length is no number."
        most = self.door.most_body_bytes
        if len(length) > len(str(most)) or int(length) > most:
            return _too_large(most)
        has_body = length != "0" or "transfer-encoding" in headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.door.takes_json_only and has_body and kind != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with the header Content-Type: application/json."
        return None

    async def _with_bounded_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, begun = _Body(receive, self.door.most_body_bytes), False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                _keep_to_this_site(MutableHeaders(scope=message))
            if begun or not body.refusal:
                begun = True
                await send(message)

        try:
            app = self._login if self._login is not None and scope["path"] == LOGIN_PATH else self.app
            await app(scope, body.receive, answer)
        except Exception:
            if begun or not body.refusal:  # otherwise the application stumbled over the end that we announced
                raise
        if body.refusal and not begun:
            await refused(*body.refusal)(scope, receive, send)


class _Body:
    """The body of a request. If it is too large or too slow, the application sees the client leave.

    Attributes:
        refusal: why it was not passed on to its end.
    """

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive, self._most_bytes, self._left, self._complete = receive, most_bytes, most_bytes, False
        self._deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_SECONDS
        self.refusal: Refusal | None = None

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # until the client leaves
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.refusal = HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive in time."
            return {"type": "http.disconnect"}
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.refusal = _too_large(self._most_bytes)
            return {"type": "http.disconnect"}
        self._complete = not message.get("more_body", False)
        return message


def _keep_to_this_site(headers: MutableHeaders) -> None:
    """No other site frames or reads an answer, whatever the application allows, and no cache keeps its figures."""
    headers.setdefault("X-Frame-Options", "SAMEORIGIN")
    for name in {name for name in headers if name.startswith("access-control-")}:
        del headers[name]
    if headers.get("content-type", "").startswith("application/json") or "set-cookie" in headers:
        headers.setdefault("Cache-Control", "no-store")


def _too_large(most: int) -> Refusal:
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {most} bytes."


def _of_the_form(scope: Scope, headers: Headers) -> Refusal | None:
    """Requests that two readers could understand differently."""
    twice = next((name for name in DECISIVE if len(headers.getlist(name)) > 1), None)
    if twice:
        return HTTPStatus.BAD_REQUEST, f"The header {twice} is given twice."
    if "host" in headers and headers["host"] and not _HOST.fullmatch(headers["host"]):
        return HTTPStatus.BAD_REQUEST, "The header Host is no name and port."
    if not scope["path"].startswith("/") or _ODD_PATH.search(scope["path"]):  # "http://other.example/" names a host
        return (
            HTTPStatus.BAD_REQUEST,
            "The path has a host, empty parts, dots or backslashes; write it in its plain form.",
        )
    return None


def _of_the_sender(scope: Scope, headers: Headers, *, has_token: bool) -> Refusal | None:
    host = headers.get("host", "")
    if not has_token and not is_loopback(_name_of(host)):
        return HTTPStatus.FORBIDDEN, f"Without {TOKEN_VARIABLE} only 127.0.0.1 and localhost are served; set one."
    proxied = next((name for name in headers if OF_A_PROXY.fullmatch(name)), None)
    if not has_token and proxied:
        return (
            HTTPStatus.FORBIDDEN,
            f"The request came through a proxy (it has the header {proxied}), so it may be anybody's. Set "
            f"{TOKEN_VARIABLE} to serve others.",
        )
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    writes = scope["type"] == "websocket" or scope["method"] not in SAFE
    if writes and origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return HTTPStatus.FORBIDDEN, "Writing from pages of another site is refused."
    # A browser says whether a page of another site is behind the request. Following a link is harmless: nothing reads
    # the answer but the person, and no GET changes anything.
    follows_a_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if site not in ("same-origin", "none") and (writes or not follows_a_link):
        return HTTPStatus.FORBIDDEN, "Requests of pages of another site are refused."
    return None


def _name_of(host: str) -> str:
    """The name in a `Host` header, without the port.

    >>> _name_of("[::1]:8000"), _name_of("localhost:8000"), _name_of("")
    ('::1', 'localhost', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
