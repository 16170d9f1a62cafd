"""Dagster's web server behind the guard; `python -m cleverbetter_dagster.web.dagster_ui` serves it.

Dagster's own command has no place for a guard, so its application is wrapped and served here.
"""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.web.address import check_host
from cleverbetter_dagster.web.connections import PROTOCOL
from cleverbetter_dagster.web.guard import Door, Guard
from cleverbetter_dagster.web.refusals import refused

DOOR = Door(open_paths=("/server_info",))
POLL_MILLISECONDS = 2000
STATEMENT_TIMEOUT_MILLISECONDS = 15_000
POOL_RECYCLE_SECONDS = 3600
POOL_MAX_OVERFLOW = 20


class NoMutationByGet:
    """ASGI middleware: Dagster runs a GraphQL document given in a link, and a link is followed without asking."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"].endswith("/graphql"):
            shows_page = "text/html" in Headers(scope=scope).get("accept", "")
            if not shows_page and "query" in QueryParams(scope["query_string"]):
                answer = refused(HTTPStatus.METHOD_NOT_ALLOWED, "Send GraphQL by POST.", {"Allow": "POST"})
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def serve(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Dagster's workspace file.")],
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback take a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 3000,
) -> None:
    """Serve Dagster's web UI of DAGSTER_HOME."""
    settings = load_settings()
    check_host(settings.api_token, host)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MILLISECONDS, POOL_RECYCLE_SECONDS, POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget(paths=[str(workspace)])
        with WorkspaceProcessContext(instance, target, version=__version__, read_only=False) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=POLL_MILLISECONDS)
            guarded = Guard(NoMutationByGet(app), settings.api_token, DOOR)
            # Who came through a proxy is for the guard to see.
            uvicorn.run(
                guarded,
                host=host,
                port=port,
                http=PROTOCOL,
                log_level="warning",
                proxy_headers=False,
                server_header=False,
            )


if __name__ == "__main__":
    typer.run(serve)
