"""`cleverbetter explain`: one strategy, and why it has its stake."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ResultTable, print_json, progress_console, result_console
from cleverbetter_dagster.settings import load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.services.overview.reasons import Reasons
    from cleverbetter_dagster.services.overview.strategy import MethodExplanation, Today


def explain(
    strategy: Annotated[str, typer.Argument(help="Its id, or its name in the table of strategies.")],
    limit: Annotated[int, typer.Option(help="Most past windows to show.", min=1)] = 12,
    as_json: AsJson = False,
) -> None:
    """Show one strategy: why it has its stake, its past windows, and what came of past predictions."""
    from cleverbetter_dagster.services.overview.strategy import explain_strategy

    explanation = explain_strategy(load_settings(), strategy)
    if as_json:
        print_json(explanation)
        return
    console, named = result_console(), explanation.strategy_id
    if explanation.name and explanation.name != named:
        named = f"{explanation.name} ({named})"
    for method in explanation.methods:
        _show(console, f"{named}, {method.method}" if method.method else named, method, limit)
    for notice in explanation.notices:
        progress_console().print(notice, style="yellow", markup=False, soft_wrap=True)


def _show(console: Console, title: str, method: "MethodExplanation", limit: int) -> None:
    console.print(Text(title, style="bold"))
    if method.today is not None:
        console.print(_today(method.today))
        if method.today.reasons is not None:
            _show_reasons(console, method.today.reasons)
    if method.predictions:
        table = ResultTable("Past predictions", ("decided", "by"), ("probability", "stake", "window until", "return"))
        for one in method.predictions[:limit]:
            closes, roi = (
                ("open", "") if one.roi is None or one.closes is None else (_day(one.closes), f"{one.roi:+.2%}")
            )
            figures = (f"{one.probability:.3f}", f"{one.stake:.2%}", closes, roi)
            table.add_row(*map(Text, (_day(one.decided), one.model, *figures)))
        late = sum(not one.in_time for one in method.predictions)
        table.caption = f"{late} of them were scored after their window had closed." if late else ""
        console.print(table)
    table = ResultTable("Past windows", ("from", "to"), ("return", "bets"))
    for window in method.windows[:limit]:
        table.add_row(*map(Text, (_day(window.start), _day(window.end), f"{window.roi:+.2%}", f"{window.bets:,.0f}")))
    console.print(table)


def _today(today: "Today") -> ResultTable:
    table = ResultTable(f"{today.model}, as of {today.as_of}", ("", ""))
    table.add_row("stake", f"[bold]{today.stake:.2%}[/] of the bankroll")
    if today.opens is not None and today.closes is not None:
        table.add_row("for the window", f"{_day(today.opens)} to {_day(today.closes)}, if it is as long as the last")
    table.add_row("probability of a profit", f"{today.probability:.3f}, confidence {today.confidence:.3f}")
    table.add_row("return to expect", f"{today.expected_return:+.2%}")
    table.add_row("scored", f"{today.scored_at:%Y-%m-%d %H:%M} UTC")
    return table


def _show_reasons(console: Console, reasons: "Reasons") -> None:
    if reasons.refusal is not None:
        console.print(Text(f"No stake. {reasons.refusal}", style="bold"))
    else:
        table = ResultTable("Why this stake", ("step", "because"), ("stake", ""))
        for step in reasons.steps:
            style = "bold" if step.bound else ""
            cells = (step.name, step.text, f"{step.stake:.2%}", "binds" if step.bound else "")
            table.add_row(*map(Text, cells), style=style)
        if reasons.mean is not None and reasons.variance is not None:
            table.caption = f"Mean {reasons.mean:+.4f} and variance {reasons.variance:.6f} of the next return."
        console.print(table)
    table = ResultTable("What moved the probability", ("feature",), ("value", "effect"))
    for one in reasons.influences:
        table.add_row(
            *map(Text, (one.feature, "missing" if one.value is None else f"{one.value:.4g}", _points(one.effect)))
        )
    table.add_row("all others", "", _points(reasons.others))
    table.caption = (
        f"From {reasons.usual:.3f}, the mean of some other strategies scored with it, to {reasons.probability:.3f}."
    )
    console.print(table)


def _points(effect: float) -> str:
    return f"{effect:+.3f}"


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"
