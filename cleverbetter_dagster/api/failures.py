"""Errors as answers: a status, and a message of ours. Never a stack trace, a statement or a secret."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

import psycopg
import psycopg2  # type: ignore[import-untyped]
from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from cleverbetter_dagster.api.dagster_runs import DagsterDown, JobEnded, NoSuchJob, TooManyJobs
from cleverbetter_dagster.defs.requests import TrainingRequest, problems_from
from cleverbetter_dagster.errors import (
    ArtefactsUnavailable,
    CleverBetterError,
    DatabaseError,
    InvalidInput,
    InvalidRequest,
    ModelNotFound,
    NotStored,
    Problem,
    RegistryError,
    TrackingUnavailable,
    WorkersUnavailable,
)
from cleverbetter_dagster.redaction import message_of, redacted

STATUSES: Mapping[type[CleverBetterError], int] = {
    NoSuchJob: 404,
    ModelNotFound: 404,
    JobEnded: 409,
    RegistryError: 409,
    NotStored: 409,
    TooManyJobs: 429,
    DagsterDown: 503,
    DatabaseError: 503,
    TrackingUnavailable: 503,
    ArtefactsUnavailable: 503,
    WorkersUnavailable: 503,
}
"""The first class that matches, from the top, gives the status. Any other error is a fault of the API: 500."""

PASSING = (psycopg.OperationalError, psycopg2.OperationalError, DBAPIError, MlflowException, ConnectionError, OSError)
"""What the libraries underneath raise where a server is away."""

RETRY_SECONDS = "30"
AWAY = "The database, or MLflow, does not answer. Try again later; `cleverbetter status` says what is up."

log = logging.getLogger(__name__)


def status_of(error: CleverBetterError) -> int:
    """The status of an answer that ends with `error`."""
    return next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)


def answer_failures(app: FastAPI) -> None:
    """Let `app` answer every error that is known as JSON; the guard before it answers the others."""

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        training = request.url.path.endswith("/models/train")
        return _problems(problems_from(error.errors(), TrainingRequest.__name__ if training else ""))

    @app.exception_handler(HTTPException)
    async def refused_by_fastapi(request: Request, error: HTTPException) -> Response:
        if error.status_code != HTTPStatus.BAD_REQUEST:
            return await http_exception_handler(request, error)
        # FastAPI says so of a body that its parser gave up: nested too deep, or a number of thousands of digits.
        return _problems([Problem("body", "is no JSON that can be read", "send one JSON object")])

    @app.exception_handler(InvalidRequest)
    def refused(_: Request, error: InvalidRequest) -> JSONResponse:
        return _problems(error.problems)

    @app.exception_handler(InvalidInput)
    def unusable(_: Request, error: InvalidInput) -> JSONResponse:
        return _problems([Problem("body", str(error), "correct it")])

    @app.exception_handler(CleverBetterError)
    def ours(_: Request, error: CleverBetterError) -> JSONResponse:
        status = status_of(error)
        later = {"Retry-After": RETRY_SECONDS} if status in (429, 503) else None
        return JSONResponse({"detail": message_of(error)}, status, later)

    for kind in PASSING:
        app.add_exception_handler(kind, _away)


def _away(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s %s: %s", request.method, request.url.path, type(error).__name__)
    return JSONResponse({"detail": AWAY}, 503, {"Retry-After": RETRY_SECONDS})


def _problems(problems: tuple[Problem, ...] | list[Problem]) -> JSONResponse:
    detail = [{name: _text(value) for name, value in vars(one).items()} for one in problems]
    return JSONResponse({"detail": detail}, 422)


def _text(value: object) -> str:
    """Without secrets, and without halves of surrogate pairs, with which no answer could be encoded."""
    return redacted(str(value)).encode(errors="replace").decode()
