"""How results are shown in Dagster's UI: pictures, intervals and tables."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from cleverbetter_dagster.escaping import markdown_text
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.report.view import Number, Table
from cleverbetter_dagster.evaluation.staking_comparison import StakingComparison
from cleverbetter_dagster.services.records import ReportRecord
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.client import run_page

Metadata = dict[str, dg.MetadataValue | float | int | str | None]
"""What the UI shows beside an asset, by name."""


def markdown(*parts: str) -> dg.MetadataValue:
    """Tables and pictures below each other, which the UI shows on one click."""
    return dg.MetadataValue.md("\n\n".join(parts))


def picture(png: bytes, title: str) -> str:
    """A PNG as Markdown that needs no file to be fetched."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; a dash if there is none.

    >>> number(0.123456), number(None)
    ('0.1235', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def interval(value: Estimate | None, digits: int = 4) -> str:
    """An estimate with its interval, or why there is none, for people; a dash if there is nothing to estimate."""
    if value is None:
        return "–"
    if value.ends is None:
        return f"{number(value.point, digits)} (no interval: {value.reason})"
    return f"{number(value.point, digits)} [{number(value.low, digits)}, {number(value.high, digits)}]"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with equal keys as a Markdown table; floats have six digits.

    >>> print(table([{"model": "ensemble", "bets": 3, "l2": 0.05176340429}]))
    | model | bets | l2 |
    | --- | --- | --- |
    | ensemble | 3 | 0.0517634 |
    """
    if not rows:
        return "(no rows)"
    headings = list(rows[0])
    lines = ["| " + " | ".join(map(markdown_text, headings)) + " |", "|" + " --- |" * len(headings)]
    lines += ["| " + " | ".join(_cell(row[heading]) for heading in headings) + " |" for row in rows]
    return "\n".join(lines)


def bullets(texts: Iterable[str]) -> str:
    """Texts as a Markdown list."""
    return "\n".join(f"- {markdown_text(text)}" for text in texts)


def report_table(shown: Table) -> str:
    """A table of a report as Markdown, below its title."""
    rows = [dict(zip(shown.headings, row, strict=True)) for row in shown.rows]
    return f"**{markdown_text(shown.title)}**\n\n{table(rows)}"


def _cell(value: Any) -> str:
    if isinstance(value, Number):
        return markdown_text(f"{value.value} ({value.detail})" if value.detail else value.value)
    return f"{value:.6g}" if isinstance(value, float) else markdown_text(str(value))


def staking_tables(comparisons: Sequence[StakingComparison]) -> dg.MetadataValue:
    """An agent's stakes beside rules of thumb: a table for each probability that the rules use, and what they show."""
    parts: list[str] = []
    for comparison in comparisons:
        lines = [
            {
                "stakes": row.name,
                "final bankroll": number(row.final_bankroll),
                "growth": interval(row.growth),
                "max drawdown": number(row.max_drawdown),
                "risk of ruin": number(row.risk_of_ruin),
                "agent's monthly log growth above": interval(comparison.advantages.get(row.name)),
            }
            for row in comparison.rows
        ]
        title = f"Rules with the probability of **{comparison.probability_of}**, agent over {comparison.seeds} seeds:"
        parts += [title, table(lines), bullets(outcome.message for outcome in comparison.outcomes())]
    return markdown(*parts)


def report_metadata(settings: Settings, report: ReportRecord) -> Metadata:
    """The link leads to MLflow, which has the same page: a browser opens no local file from the UI's page."""
    link: Metadata = {}
    if report.run_id is not None:
        link["report"] = dg.MetadataValue.url(run_page(settings, report.run_id, f"reports/{report.kind}.html"))
    return {
        **link,
        "file": dg.MetadataValue.path(report.url),
        "open_with": f"cleverbetter report --kind {report.kind} --as-of {report.as_of}",
        "size_bytes": report.size_bytes,
        "sha256": report.sha256,
    }
