"""The token of a request: in a header, or in the cookie that the login page sets in a browser.

The cookie holds no token, but the instant it ends and its HMAC under the token, so it cannot be made without the token,
nor be used to learn it. A cookie belongs to a host whatever the port, so one login opens all servers of a host.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from html import escape
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

LOGIN_PATH = "/cleverbetter-login"
COOKIE = "cleverbetter_login"
VALID_SECONDS = 14 * 24 * 3600
MOST_FORM_BYTES = 16 * 1024
WRONG_TOKEN_SECONDS = 1.0
"""Pause after a wrong token, so that guessing is slow."""


def is_right(token: str, headers: Headers) -> bool:
    """Whether a request has the token, or a cookie of the login page that has not ended."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _equal(given.strip(), token)
    return _is_signed(token, cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))


class Login:
    """ASGI application: the login page, and what its form is sent to."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            return _page(request.query_params.get("next", "/"))
        if request.method != "POST":
            return HTMLResponse("", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, POST"})
        form = await _form(request)
        wanted = form.get("next", "/")
        if not _equal(form.get("token", ""), self._token):
            await asyncio.sleep(WRONG_TOKEN_SECONDS)
            return _page(wanted, "This is not the token.", HTTPStatus.UNAUTHORIZED)
        answer = RedirectResponse(_below(wanted), HTTPStatus.SEE_OTHER)
        outermost = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        is_https = "https" in (request.url.scheme, outermost)
        answer.set_cookie(
            COOKIE,
            _signed(self._token, int(time.time()) + VALID_SECONDS),
            max_age=VALID_SECONDS,
            secure=is_https,
            httponly=True,
            samesite="lax",
        )
        return answer


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=10).items()}


def _page(wanted: str, problem: str = "", status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    template = (files(__package__) / "login.html").read_text(encoding="utf-8")
    page = template.replace("{problem}", escape(problem)).replace("{next}", escape(_below(wanted)))
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"}
    return HTMLResponse(page, status, headers | {"Cache-Control": "no-store", "X-Frame-Options": "DENY"})


def _below(wanted: str) -> str:
    r"""A path of this server; anything else, such as another host, becomes the front page.

    >>> _below("/runs?x=1"), _below("https://evil.example"), _below("//evil.example"), _below("/\\evil.example")
    ('/runs?x=1', '/', '/', '/')
    """
    is_path = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_path else "/"


def _signed(token: str, ends: int) -> str:
    return f"{ends}.{hmac.new(token.encode(), f'{COOKIE} {ends}'.encode(), hashlib.sha256).hexdigest()}"


def _is_signed(token: str, cookie: str) -> bool:
    ends = cookie.partition(".")[0]
    if not (ends.isascii() and ends.isdigit() and len(ends) < 12) or int(ends) < time.time():
        return False
    return _equal(cookie, _signed(token, int(ends)))


def _equal(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), known.encode())
