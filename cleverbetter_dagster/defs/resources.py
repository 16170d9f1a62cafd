"""Resources of the assets: the deployment's settings, and the MLflow run that belongs to the Dagster run."""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from cleverbetter_dagster.errors import CleverBetterError, TrackingUnavailable
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.tracking.availability import noticing_absence
from cleverbetter_dagster.store.tracking.client import experiment_id, require_mlflow, tracking_uri
from cleverbetter_dagster.store.tracking.runs import close_left_runs

FAILURE = dg.DagsterEventType.STEP_FAILURE
MLFLOW_KIND = "mlflow"
"""Kind of the assets that need MLflow."""


class Deployment(dg.ConfigurableResource):
    """The settings of this deployment, read from the environment when a run starts."""

    def settings(self) -> Settings:
        return load_settings()


def ask_mlflow_first(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Fail before any work if assets later in the run need MLflow and it does not answer. Does not try again.

    If it answers, MLflow runs that killed Dagster runs left open are closed.

    Raises:
        RetryRequested: with no tries left, so that the run fails at once, by a cause that waiting may cure.
        Failure: `MLFLOW_TRACKING_URI` cannot be used.
    """
    layer = context.job_def.asset_layer
    if not any(MLFLOW_KIND in layer.get(key).kinds for key in layer.selected_asset_keys):
        return
    try:
        require_mlflow(settings)
        if closed := close_left_runs(settings, partial(_has_ended, context.instance)):
            context.log.info(f"Closed MLflow runs that killed runs had left open: {', '.join(closed)}")
    except TrackingUnavailable as error:
        raise dg.RetryRequested(max_retries=0) from error
    except CleverBetterError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.resource(description="The MLflow run of this Dagster run; the runs of single models are its children.")
def mlflow_run(context: dg.InitResourceContext) -> Iterator[Any]:
    """One MLflow run for each Dagster run, through dagster-mlflow, imported late because it costs seconds.

    If MLflow is in the database, its address has a password. So the address goes to dagster-mlflow here, inside the
    process, and never through run configuration, which is stored and shown.
    """
    from dagster_mlflow.resources import MlFlow

    settings = load_settings()
    experiment_id(settings)  # dagster-mlflow would create a missing experiment with its artefacts in ./mlruns
    config = {
        "experiment_name": settings.mlflow_experiment_name,
        "mlflow_tracking_uri": tracking_uri(settings),
        "env": {},
        "extra_tags": {"cleverbetter.kind": "dagster_run"},
    }
    with noticing_absence(tracking_uri(settings)):
        run: Any = MlFlow(context.replace_config(config))
    if settings.mlflow_tracking_uri is None:
        # MLflow leaves the address with its password in the environment, where it would look like a setting.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        yield run
    finally:
        # dagster-mlflow calls every run finished. A step that failed for good is an event of the Dagster run.
        failures = context.run_id and context.instance and context.instance.all_logs(context.run_id, of_type=FAILURE)
        run.end_run("FAILED" if failures else "FINISHED")


def _has_ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    """False for a run without a record here too: it may be another deployment's."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_finished
