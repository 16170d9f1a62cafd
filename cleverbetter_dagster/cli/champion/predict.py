"""`cleverbetter predict`: the champion's predictions and stakes, and how both are renewed and changed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cleverbetter_dagster.cli.files import write_files
from cleverbetter_dagster.cli.options import AsJson, AsOfMonth, Csv, Xlsx
from cleverbetter_dagster.cli.output import ResultTable, print_json, result_console
from cleverbetter_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd

NOT_LOADED = "No rows are loaded yet: `cleverbetter import --help` says where they come from; a training loads them."


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
    renew: Annotated[
        bool, typer.Option("--renew", help="Score every strategy again first, with the rows that are loaded.")
    ] = False,
    supposed: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="OPTION=VALUE",
            help="Show the stakes with a staking option, and write nothing. May be repeated.",
            show_default=False,
        ),
    ] = None,
    csv: Csv = None,
    xlsx: Xlsx = None,
    limit: Annotated[int, typer.Option(help="Most strategies to show.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the champion's predictions, the largest stake first. Stakes are fractions of the bankroll."""
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.champion.renewal import RENEW_COMMAND, no_stakes
    from cleverbetter_dagster.store.ledger import ledger
    from cleverbetter_dagster.store.predictions import made_by, read_predictions
    from cleverbetter_dagster.store.strategies import strategy_names

    settings = load_settings()
    if supposed and (options or renew):
        raise typer.BadParameter("writes nothing, so it goes with neither --set nor --renew", param_hint="--what-if")
    if options or renew:
        _predict_again(settings, as_of, options or [], quiet=as_json)
    champion = ledger.champion_at(settings, as_of) if as_of else ledger.champion(settings)
    if supposed:
        predictions, title = _what_if(settings, as_of, supposed), f"What if {', '.join(supposed)}? {champion}"
    else:
        predictions = made_by(read_predictions(settings, as_of), champion.model if champion else (None, None))
        title = str(champion)
    if predictions.empty and as_of and champion:
        raise NotStored(
            f"{champion} scored no strategies as of {as_of}: `{RENEW_COMMAND} --as-of {as_of}` does that now."
        )
    if predictions.empty:
        raise NotStored(no_stakes(champion))
    if csv is not None or xlsx is not None:
        write_files(predictions.to_dict("records"), csv, xlsx)
    shown = predictions.head(limit)
    names = shown["strategy_id"].map(strategy_names(settings, set(shown["strategy_id"])))
    shown = shown.assign(strategy_name=names.fillna(shown["strategy_id"]))
    rows: list[dict[Any, Any]] = shown.to_dict("records")
    if as_json:
        print_json(rows)
        return
    title += f", as of {rows[0]['as_of']}: {len(predictions):,} strategies"
    table = ResultTable(title, ("strategy", "method"), ("probability", "confidence", "return", "stake"))
    for row in rows:
        numbers = (f"{row['probability']:.3f}", f"{row['confidence']:.3f}", f"{row['expected_return']:+.2%}")
        table.add_row(*map(Text, (row["strategy_name"], row["method"], *numbers, f"{row['recommended_stake']:.2%}")))
    result_console().print(table)


def _what_if(settings: Settings, as_of: str | None, options: list[str]) -> "pd.DataFrame":
    """The predictions as of a month, by default that of today's stakes, with other staking options; stored nowhere."""
    from cleverbetter_dagster.cli.models.training_runs import parse_options
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.champion.renewal import month_to_score, supposed_predictions

    month = as_of or month_to_score(settings)
    if month is None:
        raise NotStored(NOT_LOADED)
    return supposed_predictions(settings, month, parse_options(options)).assign(as_of=month)


def _predict_again(settings: Settings, as_of: str | None, options: list[str], *, quiet: bool) -> None:
    """Run the job `predict` with staking options as of a month, by default that of today's stakes."""
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.cli.models.training_runs import parse_options
    from cleverbetter_dagster.defs.jobs import PREDICT
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.services.champion.renewal import month_to_score, no_stakes
    from cleverbetter_dagster.services.champion.staking_options import check_options
    from cleverbetter_dagster.store.ledger import ledger

    staking = parse_options(options)
    check_options(staking)
    month = as_of or month_to_score(settings)
    if month is None:
        raise NotStored(NOT_LOADED)
    if ledger.champion_at(settings, month) is None:
        raise NotStored(f"There is no champion as of {month} to predict with. {no_stakes(None)}")
    config = {"ops": {"strategy_predictions": {"config": staking}}}
    run_job(settings, Launch(PREDICT, (), (month, month), {}, config), quiet=quiet)
