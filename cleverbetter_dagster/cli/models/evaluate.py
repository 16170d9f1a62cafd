"""`cleverbetter evaluate` and `compare`: how the models of a month did on their test rows."""

from typing import TYPE_CHECKING, Any

from rich.text import Text

from cleverbetter_dagster.cli.files import write_files
from cleverbetter_dagster.cli.options import AsJson, AsOfMonth, Csv, Family, Xlsx
from cleverbetter_dagster.cli.output import ResultTable, print_json, result_console
from cleverbetter_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec
    from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow

FIGURES = ("auc_within_months", "brier", "roi", "growth")


def evaluate(family: Family, as_of: AsOfMonth = None, as_json: AsJson = False) -> None:
    """Show how a family's model of a month did on its test rows, beside every baseline.

    Runs the evaluation if it is missing.
    """
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.evaluation.leaderboard import rank_models
    from cleverbetter_dagster.learning.catalogue import get_family
    from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model, scored_by_model
    from cleverbetter_dagster.services.ingest.next_step import training_step
    from cleverbetter_dagster.services.stored_assets import stored_evaluation, stored_months

    settings, family = load_settings(), get_family(family).name
    months = stored_months(settings, f"{family}_model")
    wanted = as_of or max(months, default=None)
    if wanted not in months:
        step = training_step(settings, as_of, f"train {family}")
        raise NotStored(f"There is no {'such model of' if as_of else 'model of'} the family {family}. {step}")
    month = AsOf.parse(str(wanted))
    _evaluate_if_missing(settings, family, month, quiet=as_json)
    table = stored_evaluation(settings, family, month)
    model, leaderboard = evaluated_model(table), rank_models(scored_by_model([table]), IntervalSpec())
    if as_json:
        rows = [row.model_dump(mode="json") for row in leaderboard]
        print_json({**model.model_dump(mode="json"), "leaderboard": rows})
        return
    console = result_console()
    console.print(_leaderboard_table(f"{family} v{model.version} as of {month}", leaderboard, {family}))
    origin = f"{model.training} training, {model.fitted_rows:,} rows, best of {model.trials} trials"
    console.print(f"{origin}. More: cleverbetter report --family {family}", highlight=False)


def compare(as_of: AsOfMonth = None, csv: Csv = None, xlsx: Xlsx = None, as_json: AsJson = False) -> None:
    """Show the leaderboard of a month: every family and baseline on the same test rows, with 95% intervals."""
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.ingest.next_step import training_step
    from cleverbetter_dagster.services.stored_assets import stored_comparison

    settings = load_settings()
    try:
        record = stored_comparison(settings, AsOf.parse(as_of) if as_of is not None else None)
    except NotStored as error:
        missing = f"There is no leaderboard{f' as of {as_of}' if as_of else ' yet'}."
        raise NotStored(f"{missing} {training_step(settings, as_of)}") from error
    write_files([_flat(row.model_dump(mode="json")) for row in record.leaderboard], csv, xlsx)
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    console = result_console()
    console.print(_leaderboard_table(f"Leaderboard as of {record.as_of}", record.leaderboard, set(record.models)))
    console.print(f"Challenger: {record.challenger} v{record.models[record.challenger].version}")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with a column for each end of an interval."""
    parts = {name: value if isinstance(value, dict) else {"": value} for name, value in row.items()}
    return {f"{name}_{part}".rstrip("_"): value for name, each in parts.items() for part, value in each.items()}


def _evaluate_if_missing(settings: Settings, family: str, as_of: "AsOf", *, quiet: bool) -> None:
    """Materialise the evaluation of the month's model, if it is missing or is of another model."""
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.defs.jobs import RETRAIN
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model
    from cleverbetter_dagster.services.records import ModelRecord
    from cleverbetter_dagster.services.stored_assets import is_stored, stored_evaluation, stored_record

    model = stored_record(settings, f"{family}_model", as_of, ModelRecord)
    if is_stored(settings, f"{family}_evaluation", as_of):
        evaluated = evaluated_model(stored_evaluation(settings, family, as_of))
        if evaluated.run_id == model.run_id:
            return
    run_job(settings, Launch(RETRAIN, (f"{family}_evaluation",), (as_of.key, as_of.key), {}, {}), quiet=quiet)


def _leaderboard_table(title: str, rows: list["LeaderboardRow"], families: set[str]) -> ResultTable:
    from cleverbetter_dagster.evaluation.intervals.estimate import missing_intervals

    table = ResultTable(title, ("model",), ("rows", "bets", *FIGURES))
    table.caption = "\n".join(missing_intervals(getattr(row, name) for row in rows for name in FIGURES))
    for row in rows:
        values = (getattr(row, name) for name in FIGURES)
        cells = (row.name, f"{row.n_rows:,}", f"{row.n_bets:,}", *map(_cell, values))
        table.add_row(*map(Text, cells), style="bold" if row.name in families else "")
    return table


def _cell(estimate: "Estimate") -> str:
    if estimate.point is None:
        return "–"
    return str(estimate) if estimate.ends else f"{estimate.point:.4f}"
