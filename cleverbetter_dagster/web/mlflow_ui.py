"""MLflow's UI and tracking server behind the guard, as an application of MLflow's plugin group `mlflow.app`."""

import re
from typing import TYPE_CHECKING

from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.web.guard import Door, Guard

if TYPE_CHECKING:
    from starlette.types import ASGIApp

APP_NAME = "cleverbetter"
"""Its name in `mlflow server --app-name`, as `pyproject.toml` enters it."""

DOOR = Door(
    open_paths=("/health",),
    # Runs and the notes on an experiment are written, and nothing else of what MLflow can. An experiment has a folder,
    # and whoever chooses it reads any file of ours through its runs. A registered model or its alias that changes here
    # would be promoted or lost without a decision. Files, prompts, assistants, gateways and jobs run code.
    may_be_written=re.compile(
        r"/graphql|/(?:ajax-)?api/[23]\.0/mlflow/(?:(?:metrics|runs)(?:/(?!create-promptlab-run)[\w.:@-]+)*"
        r"|experiments/(?:search|search-datasets|set-experiment-tag|update)|logged-models/search)"
    ),
)


def create_app() -> "ASGIApp":
    """MLflow's application, guarded. `mlflow server` has set the environment that it reads when it is imported."""
    from mlflow.server.fastapi_app import app

    return Guard(app, load_settings().api_token, DOOR)
