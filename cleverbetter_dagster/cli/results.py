"""`cleverbetter compare` and `predict`: what the models of a month showed, and what the champion says."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cleverbetter_dagster.cli.output import AsJson, plain_table, print_json, result_console
from cleverbetter_dagster.settings import load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.dataset.as_of import AsOf

AsOfMonth = Annotated[str | None, typer.Option("--as-of", metavar="YYYY-MM", help="The month; else the newest.")]

FIGURES = ("roc_auc", "brier", "roi", "growth")


def compare(as_of: AsOfMonth = None, as_json: AsJson = False) -> None:
    """The leaderboard of a month: every family and baseline on the same test rows, with 95% intervals."""
    from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
    from cleverbetter_dagster.services.stored import stored_comparison

    record = stored_comparison(load_settings(), _month(as_of))
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    board = [LeaderboardRow.model_validate(row) for row in record.leaderboard]
    table = plain_table(f"Leaderboard as of {record.as_of}", ("model",), ("rows", "bets", *FIGURES))
    for row in board:
        figures = [str(value) if (value := getattr(row, name)) is not None else "–" for name in FIGURES]
        cells = (row.name, f"{row.n_rows:,}", f"{row.n_bets:,}", *figures)
        table.add_row(*map(Text, cells), style="bold" if row.name in record.models else "")
    shown = result_console()
    shown.print(table)
    shown.print(f"Challenger: {record.challenger} v{record.models[record.challenger].version}")


def predict(
    as_of: AsOfMonth = None,
    limit: Annotated[int, typer.Option(help="Largest stakes to show.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """What the champion said of every live strategy, largest stake first. Stakes are shares of the bankroll."""
    from cleverbetter_dagster.errors import NotStored
    from cleverbetter_dagster.store import ledger
    from cleverbetter_dagster.store.predictions import read_predictions

    settings, month = load_settings(), _month(as_of)
    found = read_predictions(settings, month.key if month else None)
    champion = ledger.champion_at(settings, month.key) if month else ledger.champion(settings)
    if champion is not None:
        found = found[(found["family"] == champion.family) & (found["model_version"] == champion.version)]
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
