"""Wiring of the REST API: routes, guards, failures. uvicorn runs `create_app`."""

from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from cleverbetter_dagster.api.dagster_runs import DagsterRuns
from cleverbetter_dagster.api.failures import answer_failures
from cleverbetter_dagster.api.health import health
from cleverbetter_dagster.api.models import models
from cleverbetter_dagster.api.pages import pages
from cleverbetter_dagster.api.training_jobs import training_jobs
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.web.guard import Door, Guard

DESCRIPTION = """Train models, follow training jobs, read the champion and its predictions, promote and roll back.

A job is a Dagster run: Dagster's own web UI shows it as well. Where `CLEVERBETTER_API_TOKEN` is set, every call but
`/api/v1/health` takes it as `Authorization: Bearer <token>`."""

DOOR = Door(open_paths=("/api/v1/health",), most_body_bytes=64 * 1024, takes_json_only=True, has_pages=True)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API of one deployment. By default it uses the settings of the environment. It opens no connection."""
    settings = settings or load_settings()
    app = FastAPIOffline(  # its page loads its scripts from here, not from a CDN
        title="cleverbetter",
        version=version("cleverbetter-dagster"),
        description=DESCRIPTION,
        redoc_url=None,
    )
    runs = DagsterRuns(settings)
    app.include_router(training_jobs(settings, runs))
    app.include_router(models(settings))
    app.include_router(health(settings))
    app.include_router(pages(settings, runs))
    app.add_middleware(Guard, token=settings.api_token, door=DOOR)
    answer_failures(app)
    return app
