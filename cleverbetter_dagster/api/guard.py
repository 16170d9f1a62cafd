"""Who may ask what: checks the token of writing calls, refuses requests that a foreign web page made a browser send.

Without a token the API serves this machine alone. An attacker could reach it through a browser on this machine: a page
may post across sites, or give its own name this machine's address (DNS rebinding). So, without a token, other host
names are refused. A foreign `Origin`, and a body that is not declared as JSON, are always refused.
"""

import ipaddress
import secrets
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cleverbetter_dagster.settings import Settings

MOST_BODY_BYTES = 64 * 1024
WRITING = ("POST", "PUT", "PATCH", "DELETE")


class Guard:
    """ASGI middleware: refuses by host, origin, content type and announced size, before anything else looks.

    What a body of no announced size holds is counted by Starlette's own middleware as it is read.
    """

    def __init__(self, app: ASGIApp, any_host: bool) -> None:
        """`any_host`: whether names other than this machine's may be used, as behind a proxy."""
        self.app, self.any_host = app, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
            return
        status, detail = refusal
        await JSONResponse({"detail": detail}, status)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.any_host and not is_loopback(_name_of(host)):
            return (
                403,
                "Without CLEVERBETTER_API_TOKEN only 127.0.0.1 and localhost are served; set one for other names.",
            )
        if scope["method"] not in WRITING:
            return None
        if "origin" in headers and urlsplit(headers["origin"]).netloc != host:
            return 403, "Writing from pages of another site is refused."
        if int(headers.get("content-length", "0")) > MOST_BODY_BYTES:
            return 413, f"The body is larger than {MOST_BODY_BYTES} bytes."
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "Send JSON, with the header Content-Type: application/json."
        return None


class TokenGuard:
    """Dependency of every writing call."""

    def __init__(self, settings: Settings) -> None:
        self._token = settings.api_token

    def __call__(self, request: Request) -> None:
        """Raises 401 unless the right token is given; where none is set there is nothing to check."""
        if self._token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = self._token.get_secret_value().encode()
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), known):
            raise HTTPException(
                401,
                "Give the token of CLEVERBETTER_API_TOKEN, in the header Authorization: Bearer <token>.",
                {"WWW-Authenticate": "Bearer"},
            )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "evil.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The name in a `Host` header, without the port.

    >>> _name_of("[::1]:8000"), _name_of("localhost:8000"), _name_of("")
    ('::1', 'localhost', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
