"""`cleverbetter predict`: the champion's predictions and stakes, and how its staking options are changed."""

from typing import Annotated, Any

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, AsOfMonth
from cleverbetter_dagster.cli.output import plain_table, print_json, result_console
from cleverbetter_dagster.settings import Settings, load_settings


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
    limit: Annotated[int, typer.Option(help="Most strategies to show.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the champion's predictions, the largest stake first. Stakes are fractions of the bankroll."""
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.store.ledger import ledger
    from cleverbetter_dagster.store.predictions import made_by, read_predictions
    from cleverbetter_dagster.store.strategies import strategy_names

    settings, month = load_settings(), AsOf.parse(as_of).key if as_of is not None else None
    if options:
        month = _predict_again(settings, month, options, quiet=as_json)
    champion = ledger.champion_at(settings, month) if month else ledger.champion(settings)
    predictions = made_by(read_predictions(settings, month), champion.model if champion else (None, None))
    if predictions.empty:
        raise NotStored(
            f"There are no predictions of {champion or 'a champion'} {f'as of {month}' if month else 'yet'}. "
            "Materialise strategy_predictions of the month."
        )
    shown = predictions.head(limit)
    names = shown["strategy_id"].map(strategy_names(settings, set(shown["strategy_id"])))
    shown = shown.assign(strategy_name=names.fillna(shown["strategy_id"]))
    rows: list[dict[Any, Any]] = shown.to_dict("records")
    if as_json:
        print_json(rows)
        return
    title = f"{champion}, as of {rows[0]['as_of']}: {len(predictions):,} strategies"
    table = plain_table(title, ("strategy", "method"), ("probability", "confidence", "return", "stake"))
    for row in rows:
        numbers = (f"{row['probability']:.3f}", f"{row['confidence']:.3f}", f"{row['expected_return']:+.2%}")
        table.add_row(*map(Text, (row["strategy_name"], row["method"], *numbers, f"{row['recommended_stake']:.2%}")))
    result_console().print(table)


def _predict_again(settings: Settings, as_of: str | None, options: list[str], *, quiet: bool) -> str:
    """Run the job `predict` with staking options; the month, by default the newest with loaded rows."""
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.cli.models.training_runs import parse_options
    from cleverbetter_dagster.defs.jobs import PREDICT
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.champion.staking_options import check_options
    from cleverbetter_dagster.services.ingest.change_detection import newest_with_rows
    from cleverbetter_dagster.store.ledger import ledger
    from cleverbetter_dagster.store.source.load_log import read_load_log

    staking = parse_options(options)
    check_options(staking)
    month = as_of or newest_with_rows(read_load_log(settings))
    if month is None:
        raise NotStored("No rows are loaded yet. Run the job load_rows first, or name a month with --as-of.")
    if ledger.champion_at(settings, month) is None:
        raise NotStored(f"There is no champion as of {month} to predict with; `cleverbetter promote` makes one.")
    config = {"ops": {"strategy_predictions": {"config": staking}}}
    run_job(settings, Launch(PREDICT, (), (month, month), {}, config), quiet=quiet)
    return month
