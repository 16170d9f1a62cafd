"""`cleverbetter train` and `tune`: one family as of one month, as a Dagster run of this process."""

import time
from typing import Annotated, Any

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, AsOfMonth, Family, Options, Trials
from cleverbetter_dagster.cli.output import plain_table, print_json, result_console
from cleverbetter_dagster.settings import load_settings

MOST_SHOWN = 12


def train(
    family: Family,
    as_of: AsOfMonth = None,
    options: Options = None,
    search: Annotated[bool, typer.Option("--search", help="Search with the family's own number of trials.")] = False,
    trials: Trials = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Go on from the newest version, with what it has not learned from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train, judge and register one family as of one month. It becomes champion only by `promote` or by a job."""
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.cli.models.training_runs import request_of, runs_of
    from cleverbetter_dagster.defs.launches import job_id
    from cleverbetter_dagster.services.training.registered_versions import recorded_by_run

    settings = load_settings()
    training = "incremental" if incremental else "full"
    request = request_of(family, as_of, options or [], trials, hyperparameter_search=search, training=training)
    job = job_id(request.model_type, time.time())
    runs = runs_of(settings, request, job)
    run_id = [run_job(settings, launch, quiet=as_json) for launch in runs][-1]
    found = recorded_by_run(settings, request.model_type, run_id)
    version, metrics = (found.version, found.metrics) if found else (None, {})
    if as_json:
        facts = {"job_id": job, "run_id": run_id, "model_type": request.model_type, "as_of": runs[-1].months[1]}
        print_json({**facts, "model_version": version, "metrics": metrics})
        return
    shown = result_console()
    if found is None:
        shown.print(f"Nothing was new since the newest {request.model_type}, which stands as it is.")
        return
    table = plain_table(f"{request.model_type} v{version} as of {runs[-1].months[1]}", ("on the test rows",), ("",))
    for name, value in list(metrics.items())[:MOST_SHOWN]:
        table.add_row(name, f"{value:.4f}")
    shown.print(table)
    shown.print(f"With intervals and baselines: cleverbetter evaluate {family} --as-of {runs[-1].months[1]}")


def tune(
    family: Family,
    as_of: AsOfMonth = None,
    options: Options = None,
    trials: Trials = None,
    as_json: AsJson = False,
) -> None:
    """Search a family's hyperparameters as of one month, and stop there: no model is trained on what is found."""
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
    table = plain_table(f"{study.family} as of {study.as_of}", ("hyperparameter",), ("value",))
    for name, value in study.params.items():
        table.add_row(Text(name), Text(_short(value)))
    shown = result_console()
    shown.print(table)
    shown.print(
        f"Best of {study.trials} trials: mean AUC {study.mean_auc:.4f}, of the defaults {study.default_auc:.4f}"
    )


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
