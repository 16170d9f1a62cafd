"""The page of one strategy, as a plain view for the template of the reports."""

from collections.abc import Iterator
from datetime import datetime

from cleverbetter_dagster.escaping import visible
from cleverbetter_dagster.evaluation.charts.features import influence_chart
from cleverbetter_dagster.evaluation.report.view import Link, Notice, Number, Report, Section, Table
from cleverbetter_dagster.evaluation.texts import decimal, percent
from cleverbetter_dagster.services.overview.reasons import Reasons
from cleverbetter_dagster.services.overview.strategy import Explanation, MethodExplanation, PastPrediction, Today

SHOWN_WINDOWS = 12
LONGEST_LABEL = 34
"""Characters of a feature and its value beside a bar."""


def strategy_page(explanation: Explanation, links: tuple[Link, ...] = (), search: str = "") -> Report:
    """The page of a strategy; `links` and `search` are those of `Report`."""
    today = [method for method in explanation.methods if method.today is not None]
    largest = max((method.today.stake for method in today if method.today), default=None)
    headline = "Not scored now" if largest is None else f"Stake {percent(largest, 2)}" if largest else "No stake"
    alone = explanation.methods[0].method if len(explanation.methods) == 1 else ""
    by = f", backtested by {alone}" if alone else ""
    named = explanation.name is not None and explanation.name != explanation.strategy_id
    return Report(
        title=visible(explanation.name or explanation.strategy_id),
        subtitle=f"Strategy {visible(explanation.strategy_id)}{by}" if named else f"Strategy{by}",
        headline=headline,
        tone="good" if largest else "plain",
        summary=" ".join(_sentence(method) for method in today) or "The champion says nothing about it now.",
        notices=tuple(Notice(text) for text in explanation.notices),
        sections=tuple(section for method in explanation.methods for section in _sections(method, several=not alone)),
        links=links,
        search=search,
    )


def day(instant: datetime) -> str:
    """An instant as a day."""
    return f"{instant:%Y-%m-%d}"


def window(opens: datetime | None, closes: datetime | None) -> str:
    """The window that a stake is for."""
    return f"{day(opens)} to {day(closes)}" if opens and closes else "not known"


def _sentence(method: MethodExplanation) -> str:
    today = method.today
    if today is None:
        return ""
    by = f" by {method.method}" if method.method else ""
    said = (
        f"{today.model}, as of {today.as_of}, gives its next window{by} a probability of {percent(today.probability)}"
    )
    staked = f"advises {percent(today.stake, 2)} of the bankroll" if today.stake else "advises no stake"
    why = f" {today.reasons.refusal}" if today.reasons is not None and today.reasons.refusal else ""
    return f"{said} to make a profit and {staked}.{why}"


def _sections(method: MethodExplanation, *, several: bool) -> Iterator[Section]:
    suffix = f": {method.method}" if several and method.method else ""
    if method.today is not None:
        yield _today(f"The next window{suffix}", method.today)
        if method.today.reasons is not None:
            yield _why(f"Why this stake{suffix}", method.today.reasons)
    yield Section(f"What came of it{suffix}", tables=(_predictions(method.predictions), _windows(method)))


def _today(title: str, today: Today) -> Section:
    return Section(
        title,
        f"From {window(today.opens, today.closes)}, if it is as long as the last one. Scored by {today.model} on "
        f"{today.scored_at:%Y-%m-%d at %H:%M} UTC."
        if today.opens
        else f"Scored by {today.model} on {today.scored_at:%Y-%m-%d at %H:%M} UTC.",
        numbers=(
            Number("Stake", percent(today.stake, 2), "of the bankroll"),
            Number("Probability of a profit", percent(today.probability), f"confidence {decimal(today.confidence, 2)}"),
            Number("Return to expect", percent(today.expected_return, 2, signed=True), "of the stake"),
        ),
    )


def _why(title: str, reasons: Reasons) -> Section:
    steps = tuple(
        (step.name, Number("", percent(step.stake, 2), "binds" if step.bound else ""), step.text)
        for step in reasons.steps
    )
    moments = (
        Number("Mean return", percent(reasons.mean, 2, signed=True), "of the next window"),
        Number("Its deviation", percent(_root(reasons.variance), 2), f"variance {decimal(reasons.variance, 6)}"),
    )
    shown = {_label(one.feature, one.value): one.effect for one in reasons.influences} | {"all others": reasons.others}
    return Section(
        title,
        "From full Kelly to the stake, a bound at a time. A bound that binds has changed the stake.",
        notices=(Notice(f"No stake. {reasons.refusal}", "plain"),) if reasons.refusal else (),
        numbers=moments,
        charts=(influence_chart(shown, reasons.usual, reasons.probability),),
        tables=(Table("Step by step", ("step", "stake", "because"), steps, texts=("because",)),),
    )


def _root(variance: float | None) -> float | None:
    return None if variance is None else variance**0.5


def _label(feature: str, value: float | None) -> str:
    shown = "missing" if value is None else f"{value:.4g}"
    most = LONGEST_LABEL - len(shown) - 1
    return f"{feature if len(feature) <= most else feature[: most - 1] + '…'} {shown}"


def _predictions(predictions: tuple[PastPrediction, ...]) -> Table:
    late = sum(not one.in_time for one in predictions)
    rows = tuple(
        (
            day(one.decided),
            one.model,
            percent(one.probability),
            percent(one.stake, 2),
            percent(one.roi, 2, signed=True),
            window(one.opens, one.closes) if one.closes else "open",
        )
        for one in predictions
    )
    return Table(
        "Past predictions, newest first",
        ("decided", "by", "probability", "stake", "its return", "window"),
        rows,
        f"{late} of them were scored after their window had closed." if late else "",
        texts=("window",),
    )


def _windows(method: MethodExplanation) -> Table:
    rows = tuple(
        (window(one.start, one.end), percent(one.roi, 2, signed=True), f"{one.bets:,.0f}")
        for one in method.windows[:SHOWN_WINDOWS]
    )
    return Table("Past windows, newest first", ("window", "return", "bets"), rows)
