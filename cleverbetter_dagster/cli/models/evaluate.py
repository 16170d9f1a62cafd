"""`cleverbetter evaluate`, `compare` and `predict`: what the models of a month showed, and what the champion says."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, AsOfMonth, Family
from cleverbetter_dagster.cli.output import plain_table, print_json, result_console
from cleverbetter_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow

FIGURES = ("roc_auc", "brier", "roi", "growth")


def evaluate(
    family: Family,
    as_of: AsOfMonth = None,
    as_json: AsJson = False,
) -> None:
    """How a family's model of a month did on its test rows, beside every baseline. Judges it first where nobody did."""
    from cleverbetter_dagster.evaluation.intervals.bootstrap import BootstrapSpec
    from cleverbetter_dagster.evaluation.leaderboard import rank_models
    from cleverbetter_dagster.learning.catalogue import get_family
    from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model, scored_by_model
    from cleverbetter_dagster.services.stored_assets import stored_evaluation

    settings, family = load_settings(), get_family(family).name
    month = _month(as_of) or _newest_model(settings, family)
    _judge_where_missing(settings, family, month, quiet=as_json)
    table = stored_evaluation(settings, family, month)
    model, leaderboard = evaluated_model(table), rank_models(scored_by_model([table]), BootstrapSpec())
    if as_json:
        rows = [row.model_dump(mode="json") for row in leaderboard]
        print_json({**model.model_dump(mode="json"), "leaderboard": rows})
        return
    shown = result_console()
    shown.print(_leaderboard_table(f"{family} v{model.version} as of {month}", leaderboard, {family}))
    chosen = f"{model.training} training, {model.fitted_rows:,} rows, chosen from {model.trials} settings"
    shown.print(f"{chosen}. More: cleverbetter report --family {family}", highlight=False)


def compare(as_of: AsOfMonth = None, as_json: AsJson = False) -> None:
    """The leaderboard of a month: every family and baseline on the same test rows, with 95% intervals."""
    from cleverbetter_dagster.services.stored_assets import stored_comparison

    record = stored_comparison(load_settings(), _month(as_of))
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    shown = result_console()
    shown.print(_leaderboard_table(f"Leaderboard as of {record.as_of}", record.leaderboard, set(record.models)))
    shown.print(f"Challenger: {record.challenger} v{record.models[record.challenger].version}")


def predict(
    as_of: AsOfMonth = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="OPTION=VALUE",
            help="Set a staking option of the champion, which keeps it, and predict again. May be repeated.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Largest stakes to show.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the champion's predictions, largest stake first. Stakes are fractions of the bankroll."""
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.store.ledger import ledger
    from cleverbetter_dagster.store.predictions import made_by, read_predictions

    settings, month = load_settings(), _month(as_of)
    if options:
        month = _predict_again(settings, month, options, quiet=as_json)
    found = read_predictions(settings, month.key if month else None)
    champion = ledger.champion_at(settings, month.key) if month else ledger.champion(settings)
    if champion is not None:
        found = made_by(found, champion.model)
    if champion is None or found.empty:
        told = f"as of {month}" if month else "yet"
        raise NotStored(
            f"{champion or 'No champion'} has predicted nothing {told}. Materialise strategy_predictions of the month."
        )
    rows: list[dict[Any, Any]] = found.head(limit).to_dict("records")
    if as_json:
        print_json(rows)
        return
    title = f"{champion}, as of {rows[0]['as_of']}: {len(found):,} strategies"
    table = plain_table(title, ("strategy", "method"), ("probability", "confidence", "return", "stake"))
    for row in rows:
        numbers = (f"{row['probability']:.3f}", f"{row['confidence']:.3f}", f"{row['expected_return']:+.2%}")
        cells = (row["strategy_id"], row["method"], *numbers, f"{row['recommended_stake']:.2%}")
        table.add_row(*map(Text, cells))
    result_console().print(table)


def _month(as_of: str | None) -> "AsOf | None":
    from cleverbetter_dagster.dataset.as_of import AsOf

    return AsOf.parse(as_of) if as_of is not None else None


def _newest_model(settings: Settings, family: str) -> "AsOf":
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.stored_assets import stored_months

    months = stored_months(settings, f"{family}_model")
    if not months:
        raise NotStored(f"No {family} was trained yet. Run `cleverbetter train {family}`.")
    return AsOf.parse(months[-1])


def _judge_where_missing(settings: Settings, family: str, as_of: "AsOf", *, quiet: bool) -> None:
    """Materialise the evaluation of the month's model, unless it is there and of that very model."""
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model
    from cleverbetter_dagster.services.records import ModelRecord
    from cleverbetter_dagster.services.stored_assets import is_stored, stored_evaluation, stored_record

    if not is_stored(settings, f"{family}_model", as_of):
        raise NotStored(f"There is no {family} as of {as_of}. Run `cleverbetter train {family} --as-of {as_of}`.")
    if is_stored(settings, f"{family}_evaluation", as_of):
        judged = evaluated_model(stored_evaluation(settings, family, as_of))
        if judged.run_id == stored_record(settings, f"{family}_model", as_of, ModelRecord).run_id:
            return
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.defs.launches import Launch

    run_job(settings, Launch("retrain", (f"{family}_evaluation",), (as_of.key, as_of.key), {}, {}), quiet=quiet)


def _predict_again(settings: Settings, as_of: "AsOf | None", options: list[str], *, quiet: bool) -> "AsOf":
    """Run the job `predict` with staking options, at the newest month with loaded rows if none is named."""
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.cli.models.training_runs import parse_options
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.defs.jobs import PREDICT
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.champion.staking_options import check_options
    from cleverbetter_dagster.services.ingest.change_detection import newest_with_rows
    from cleverbetter_dagster.store.ledger import ledger
    from cleverbetter_dagster.store.source.load_log import read_load_log

    staking = parse_options(options)
    check_options(staking)
    month = as_of.key if as_of else newest_with_rows(read_load_log(settings))
    if month is None:
        raise NotStored("No rows are loaded yet. Run the job load_rows first, or name a month with --as-of.")
    if ledger.champion_at(settings, month) is None:
        raise NotStored(f"There is no champion as of {month} to predict with; `cleverbetter promote` makes one.")
    config = {"ops": {"strategy_predictions": {"config": staking}}}
    run_job(settings, Launch(PREDICT, (), (month, month), {}, config), quiet=quiet)
    return AsOf.parse(month)


def _leaderboard_table(title: str, rows: list["LeaderboardRow"], own: set[str]) -> Table:
    table = plain_table(title, ("model",), ("rows", "bets", *FIGURES))
    for row in rows:
        figures = [str(value) if (value := getattr(row, name)) is not None else "–" for name in FIGURES]
        cells = (row.name, f"{row.n_rows:,}", f"{row.n_bets:,}", *figures)
        table.add_row(*map(Text, cells), style="bold" if row.name in own else "")
    return table
