"""MLflow: its address, client and experiment. Runs are in `runs`, models in `package`.

Every client gets its address, so there is no global address, active run or `./mlruns`. MLflow is imported inside
functions, because that takes seconds. Addresses may hold a password: no log, tag or message shows them.
"""

import logging
import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import Target, connect, database_url, locked
from cleverbetter_dagster.store.postgres.url import DRIVER, parsed
from cleverbetter_dagster.store.tracking.availability import AnsweringClient, is_database, require_answer
from cleverbetter_dagster.store.tracking.moved_home import ArtefactHome, find_move, record_move, shown
from cleverbetter_dagster.store.tracking.places import artefact_address, shared_storage

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these: it sends nothing anywhere, puts no progress bars into logs, and gives a server that went away
# two further tries, in 10 s where it refuses, instead of seven in minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # it may ask for hours
}
for name, value in MLFLOW_DEFAULTS.items():
    os.environ.setdefault(name, value)

CONNECT_SECONDS = 10
ASK_AGAIN_SECONDS = 30.0
"""An answer of MLflow counts for at most so long."""

log = logging.getLogger(__name__)

EXPERIMENT_LOCK = "mlflow experiment"
MIGRATION_LOCK = "mlflow migration"


def tracking_uri(settings: Settings) -> str:
    """Where MLflow keeps runs: `MLFLOW_TRACKING_URI`, else the one database. May hold a password."""
    if settings.mlflow_tracking_uri is None:
        return database_url(settings, "mlflow")
    own = _own_postgres(settings.mlflow_tracking_uri)
    return own.sqlalchemy_url if own else settings.mlflow_tracking_uri


def run_page(settings: Settings, run_id: str, artefact: str) -> str:
    """Address of an artefact in MLflow's UI, of the tracking server or else of `cleverbetter up`. Has no password."""
    address = urlsplit(settings.mlflow_tracking_uri or "")
    server = f"http://127.0.0.1:{settings.mlflow_port}"
    if address.scheme in ("http", "https"):
        port = f":{address.port}" if address.port else ""
        server = f"{address.scheme}://{address.hostname}{port}{address.path.rstrip('/')}"
    return f"{server}/#/experiments/{experiment_id(settings)}/runs/{run_id}/artifacts/{artefact}"


def mlflow_client(settings: Settings) -> "MlflowClient":
    """A client of this deployment's MLflow, which answered a moment ago and whose tables exist.

    Raises:
        TrackingUnavailable: MLflow does not answer. Calls of the client raise it as well.
        SettingsError: MLflow cannot use `MLFLOW_TRACKING_URI`.
    """
    uri = tracking_uri(settings)
    _require_recent_answer(settings, uri)
    return _prepared_client(settings, uri)


def require_mlflow(settings: Settings) -> None:
    """Ask MLflow whether it can be used, before work whose result it is to keep. Changes nothing.

    Raises:
        TrackingUnavailable, SettingsError: as `mlflow_client`.
    """
    uri = tracking_uri(settings)
    _require_recent_answer(settings, uri)
    if is_database(uri):
        find_move(uri, artefact_home(settings))


def experiment_id(settings: Settings) -> str:
    """Id of this deployment's experiment. It is created if it is missing, and restored if somebody deleted it.

    If MLflow is a database, artefacts go to `artefact_address`; a tracking server chooses their place itself.
    """
    client = mlflow_client(settings)
    name = settings.mlflow_experiment_name
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "active":
        return str(experiment.experiment_id)
    with locked(settings, "state", EXPERIMENT_LOCK):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            location = artefact_address(settings) if is_database(tracking_uri(settings)) else None
            return str(client.create_experiment(name, artifact_location=location))
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)


def artefact_home(settings: Settings) -> ArtefactHome:
    """Where the artefacts belong, for `moved_home`."""
    own_database = settings.mlflow_tracking_uri is None and settings.uses_embedded_database
    return ArtefactHome(
        settings.mlflow_experiment_name, artefact_address(settings), own_database, shared_storage(settings)
    )


def _own_postgres(address: str) -> Target | None:
    """The database at an address of `MLFLOW_TRACKING_URI`; None if it is no PostgreSQL, or made by `tracking_uri`."""
    if address.startswith(f"{DRIVER}:"):
        return None  # dagster-mlflow leaves it in the environment
    if not address.startswith(("postgresql:", "postgresql+", "postgres:")):
        return None
    url = parsed(address, "MLFLOW_TRACKING_URI").with_default("connect_timeout", str(CONNECT_SECONDS))
    return Target(url, "MLFLOW_TRACKING_URI", None)


def _require_recent_answer(settings: Settings, uri: str) -> None:
    if settings.mlflow_tracking_uri is not None:  # the one database is asked by whoever connects to it
        _require_answer_once(uri, int(time.monotonic() // ASK_AGAIN_SECONDS))


@lru_cache(maxsize=8)
def _require_answer_once(uri: str, _period: int) -> None:
    require_answer(uri)  # an error is not cached


@lru_cache(maxsize=8)
def _prepared_client(settings: Settings, uri: str) -> "MlflowClient":
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        if not is_database(uri):
            client = MlflowClient(uri)
        else:
            if own := _own_postgres(settings.mlflow_tracking_uri or ""):
                connect(own).close()  # refuses a pooler that shares sessions
            # The first client creates MLflow's tables, and two at once both fail.
            with locked(settings, "state", MIGRATION_LOCK):
                client = MlflowClient(uri)
                _follow_home(settings, uri)
    except MlflowException as error:
        reason = str(error.message).replace(uri, "that address")
        raise SettingsError(
            f"MLflow cannot use its {uri.partition(':')[0]} address: {reason}. Check MLFLOW_TRACKING_URI, or unset "
            "it to keep runs in the database; after an update of MLflow, run `mlflow db upgrade` on that database."
        ) from None
    return cast("MlflowClient", AnsweringClient(client, uri))


def _follow_home(settings: Settings, uri: str) -> None:
    """Correct MLflow's records if the home was moved."""
    if move := find_move(uri, artefact_home(settings)):
        record_move(uri, move)
        log.warning(
            "This home was moved or copied: MLflow's records name %s now, no longer %s.",
            shown(move.new),
            shown(move.old),
        )
