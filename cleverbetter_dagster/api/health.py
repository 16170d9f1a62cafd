"""`/api/v1/health` (the API is alive) and `/api/v1/ready` (so is what it depends on)."""

from collections.abc import Callable
from contextlib import closing

import requests
from fastapi import APIRouter, Response

from cleverbetter_dagster.api.failures import PASSING
from cleverbetter_dagster.api.messages import READ_REFUSALS, Health
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.tracking.client import mlflow_client

TIMEOUT_SECONDS = 5


def health(settings: Settings) -> APIRouter:
    """The routes for whoever watches the API."""
    routes = APIRouter(prefix="/api/v1", tags=["health"])

    @routes.get("/health", responses={403: READ_REFUSALS[403]})
    def alive() -> Health:
        """The API is alive; nothing else is looked at."""
        return Health(status="ok")

    @routes.get(
        "/ready",
        responses=READ_REFUSALS | {503: {"model": Health, "description": "Some part is away"}},
    )
    def ready(response: Response) -> Health:
        """Whether the database, MLflow and Dagster answer."""
        states = states_of_parts(settings)
        if all(state == "ok" for state in states.values()):
            return Health(status="ok", parts=states)
        response.status_code = 503
        return Health(status="unavailable", parts=states)

    return routes


def states_of_parts(settings: Settings) -> dict[str, str]:
    """Of the database, MLflow and Dagster: `ok`, or what is wrong."""
    parts: dict[str, Callable[[], object]] = {
        "database": lambda: _database(settings),
        "mlflow": lambda: mlflow_client(settings).search_experiments(max_results=1),
        "dagster": lambda: _dagster(settings),
    }
    return {name: _state(check) for name, check in parts.items()}


def _state(check: Callable[[], object]) -> str:
    try:
        check()
    except CleverBetterError as error:
        return message_of(error)
    except PASSING:
        return "does not answer"
    return "ok"


def _database(settings: Settings) -> None:
    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        connection.execute("SELECT 1")


def _dagster(settings: Settings) -> None:
    requests.get(f"{settings.dagster_address}/server_info", timeout=TIMEOUT_SECONDS).raise_for_status()
