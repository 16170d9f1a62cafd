"""What assets work with: the deployment's settings, and the MLflow run that belongs to the Dagster run."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.tracking.client import experiment_id, tracking_uri


class Deployment(dg.ConfigurableResource):
    """Where this deployment's database, registry and artefacts are, read from the environment when a run starts."""

    def settings(self) -> Settings:
        return load_settings()


@dg.resource(description="The MLflow run of this Dagster run; the runs of single models are its children.")
def mlflow_run(context: dg.InitResourceContext) -> Iterator[Any]:
    """One MLflow run a Dagster run, through dagster-mlflow, imported late because it costs seconds.

    The tracking address holds a password when it is the database itself, so it goes to dagster-mlflow here,
    inside the process, and never through run configuration, which is stored and shown.
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
    run: Any = MlFlow(context.replace_config(config))
    if settings.mlflow_tracking_uri is None:
        # MLflow leaves the address, password included, in the environment, where it would pass for a setting.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        yield run
    finally:
        run.end_run("FAILED" if _a_step_failed(context) else "FINISHED")


def _a_step_failed(context: dg.InitResourceContext) -> bool:
    """Whether a step of this run gave up. dagster-mlflow would call the run finished all the same."""
    if context.instance is None or context.run_id is None:
        return False
    return bool(context.instance.all_logs(context.run_id, of_type=dg.DagsterEventType.STEP_FAILURE))
