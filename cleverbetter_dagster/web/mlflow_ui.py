"""MLflow's UI and tracking server behind the guard, as an application of MLflow's plugin group `mlflow.app`."""

from typing import TYPE_CHECKING

from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.web.guard import Door, Guard

if TYPE_CHECKING:
    from starlette.types import ASGIApp

APP_NAME = "cleverbetter"
"""Its name in `mlflow server --app-name`, as `pyproject.toml` enters it."""

DOOR = Door(
    open_paths=("/health",),
    # Models are code when they are loaded: who may write their files may run code here.
    read_only_below=tuple(
        f"/{api}/2.0/{path}" for api in ("api", "ajax-api") for path in ("mlflow-artifacts/", "mlflow/upload-artifact")
    ),
)


def create_app() -> "ASGIApp":
    """MLflow's application, guarded. `mlflow server` has set the environment that it reads when it is imported."""
    from mlflow.server.fastapi_app import app

    return Guard(app, load_settings().api_token, DOOR)
