"""MLflow: its address, client and experiment. Runs are in `runs`, models in `package`.

Every client gets its address, so there is no global address, active run or `./mlruns`. MLflow is imported inside
functions, because that takes seconds. Addresses may hold a password: no log, tag or message shows them.
"""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import database_url, locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these when it is imported: it sends nothing anywhere and puts no progress bars into logs.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

EXPERIMENT_LOCK = "mlflow experiment"
MIGRATION_LOCK = "mlflow migration"


def tracking_uri(settings: Settings) -> str:
    """Where MLflow keeps runs: `MLFLOW_TRACKING_URI`, else the one database. May hold a password."""
    if settings.mlflow_tracking_uri is None:
        return database_url(settings, "mlflow")
    # SQLAlchemy takes a bare postgresql:// to mean psycopg 3, which MLflow does not support.
    return re.sub("^postgres(ql)?://", "postgresql+psycopg2://", settings.mlflow_tracking_uri)


def run_page(settings: Settings, run_id: str, artefact: str) -> str:
    """Address of an artefact in MLflow's UI, of the tracking server or else of `cleverbetter up`. Has no password."""
    address = urlsplit(settings.mlflow_tracking_uri or "")
    server = f"http://127.0.0.1:{settings.mlflow_port}"
    if address.scheme in ("http", "https"):
        port = f":{address.port}" if address.port else ""
        server = f"{address.scheme}://{address.hostname}{port}{address.path.rstrip('/')}"
    return f"{server}/#/experiments/{experiment_id(settings)}/runs/{run_id}/artifacts/{artefact}"


def mlflow_client(settings: Settings) -> "MlflowClient":
    """A client of this deployment's MLflow, whose tables exist.

    Raises:
        SettingsError: MLflow cannot use `MLFLOW_TRACKING_URI`.
    """
    return _prepared_client(settings, tracking_uri(settings))


def experiment_id(settings: Settings) -> str:
    """Id of this deployment's experiment. It is created if it is missing, and restored if somebody deleted it.

    If MLflow is a database, artefacts go to `artefact_folder`; a tracking server chooses their place itself.
    """
    client = mlflow_client(settings)
    name = settings.mlflow_experiment_name
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "active":
        return str(experiment.experiment_id)
    with locked(settings, "state", EXPERIMENT_LOCK):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            location = artefact_folder(settings).as_uri() if _is_database(tracking_uri(settings)) else None
            return str(client.create_experiment(name, artifact_location=location))
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)


def artefact_folder(settings: Settings) -> Path:
    """Where the artefacts of runs and models are if MLflow is a database."""
    return settings.state_folder / "mlartifacts"


@lru_cache(maxsize=8)
def _prepared_client(settings: Settings, uri: str) -> "MlflowClient":
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        if not _is_database(uri):
            return MlflowClient(uri)
        # The first client creates MLflow's tables, and two at once both fail.
        with locked(settings, "state", MIGRATION_LOCK):
            return MlflowClient(uri)
    except MlflowException as error:
        reason = str(error.message).replace(uri, "that address")
        raise SettingsError(
            f"MLflow cannot use its {uri.partition(':')[0]} address: {reason}. Check MLFLOW_TRACKING_URI, or unset "
            "it to keep runs in the database; after an update of MLflow, run `mlflow db upgrade` on that database."
        ) from None


def _is_database(uri: str) -> bool:
    return uri.partition(":")[0].partition("+")[0] in ("postgresql", "mysql", "sqlite", "mssql")
