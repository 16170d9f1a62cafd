"""`cleverbetter api`: serve the REST API."""

import os
from typing import Annotated

import typer

from cleverbetter_dagster.cli.output import VisibleConsole
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.web.address import check_host
from cleverbetter_dagster.web.connections import PROTOCOL

APP = "cleverbetter_dagster.api.app:create_app"


def api(
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback take a token.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port to listen at.", min=1, max=65535)] = None,
) -> None:
    """Serve the REST API and the page of the day. `cleverbetter up` serves them as well."""
    import uvicorn

    from cleverbetter_dagster.store.home import prepare_home

    settings = load_settings()
    check_host(settings.api_token, host)
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    port = port or settings.api_port
    console = VisibleConsole(stderr=True, highlight=False)
    if settings.api_token is None:
        console.print(f"CLEVERBETTER_API_TOKEN is not set: only this machine is served, at {host}.", style="yellow")
    console.print(f"API at http://{host}:{port}, described at http://{host}:{port}/docs")
    uvicorn.run(
        APP,
        factory=True,
        host=host,
        port=port,
        http=PROTOCOL,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
    )
