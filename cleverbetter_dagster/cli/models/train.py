"""`cleverbetter train` and `tune`: one family as of one month, in Dagster runs of this process."""

import time
from typing import Annotated

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, AsOfMonth, Family, Options, Trials
from cleverbetter_dagster.cli.output import ResultTable, print_json, result_console
from cleverbetter_dagster.settings import load_settings

MAX_METRICS = 12


def train(
    family: Family,
    as_of: AsOfMonth = None,
    options: Options = None,
    search: Annotated[
        bool, typer.Option("--search", help="Search hyperparameters, with the family's number of trials.")
    ] = False,
    trials: Trials = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Update the newest version with the rows it has not learned from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train, judge and register one family as of one month. Only `promote` or a job makes the model champion."""
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.cli.models.training_runs import request_of, runs_of
    from cleverbetter_dagster.defs.launches import job_id
    from cleverbetter_dagster.services.training.registered_versions import recorded_by_run
    from cleverbetter_dagster.store.tracking.client import require_mlflow

    settings = load_settings()
    training = "incremental" if incremental else "full"
    request = request_of(family, as_of, options or [], trials, hyperparameter_search=search, training=training)
    require_mlflow(settings)
    job, family = job_id(request.model_type, time.time()), request.model_type
    runs = runs_of(settings, request, job)
    run_id = [run_job(settings, launch, quiet=as_json) for launch in runs][-1]
    recorded, month = recorded_by_run(settings, family, run_id), runs[-1].months[1]
    version, metrics = (recorded.version, recorded.metrics) if recorded else (None, {})
    if as_json:
        facts = {"job_id": job, "run_id": run_id, "model_type": family, "as_of": month}
        print_json({**facts, "model_version": version, "metrics": metrics})
        return
    console = result_console()
    if recorded is None:
        console.print(f"No rows are new since the newest {family}; it stays as it is.")
        return
    table = ResultTable(f"{family} v{version} as of {month}", ("on the test rows",), ("",))
    for name, value in list(metrics.items())[:MAX_METRICS]:
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    console.print(f"With intervals and baselines: cleverbetter evaluate {family} --as-of {month}")


def tune(
    family: Family, as_of: AsOfMonth = None, options: Options = None, trials: Trials = None, as_json: AsJson = False
) -> None:
    """Search a family's hyperparameters as of one month. Trains no model with them."""
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.cli.models.training_runs import request_of, runs_of, up_to_study
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.defs.launches import job_id
    from cleverbetter_dagster.services.records import StudyRecord
    from cleverbetter_dagster.services.stored_assets import stored_record

    settings = load_settings()
    request = request_of(family, as_of, options or [], trials, hyperparameter_search=True)
    *rows, training = runs_of(settings, request, job_id(request.model_type, time.time()))
    for launch in (*rows, up_to_study(training, request.model_type)):
        run_id = run_job(settings, launch, quiet=as_json)
    study = stored_record(settings, f"{request.model_type}_study", AsOf.parse(training.months[1]), StudyRecord)
    if as_json:
        print_json({"run_id": run_id, **study.model_dump(mode="json")})
        return
    table = ResultTable(f"{study.family} as of {study.as_of}", ("hyperparameter",), ("value",))
    for name, value in study.params.items():
        table.add_row(Text(name), Text(f"{value:.6g}" if isinstance(value, float) else str(value)))
    console, aucs = result_console(), f"{study.mean_auc:.4f} (defaults: {study.default_auc:.4f})"
    console.print(table)
    console.print(f"Best of {study.trials} trials by mean AUC: {aucs}")
