"""How results are shown in Dagster's UI: pictures, intervals and tables."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
from cleverbetter_dagster.evaluation.staking_comparison import StakingVerdict
from cleverbetter_dagster.services.records import ReportRecord
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.client import run_page

Fact = dg.MetadataValue | float | int | str | None
"""One value of an asset's metadata."""


def page(*parts: str) -> dg.MetadataValue:
    """Markdown in one piece, which the UI shows with one click: tables and pictures below each other."""
    return dg.MetadataValue.md("\n\n".join(parts))


def picture(png: bytes, title: str) -> str:
    """A PNG as Markdown that needs no file to be fetched."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def rounded(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Facts whose floats have six decimals: the UI shows, and plots, all there are."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in facts.items()}


def number(value: float | None, digits: int = 4) -> str:
    """A number for a person: a dash where there is none.

    >>> number(0.123456), number(None)
    ('0.1235', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def interval(value: Interval | None, digits: int = 4) -> str:
    """An estimate with its interval for a person: a dash where there is none."""
    if value is None:
        return "–"
    return f"{number(value.point, digits)} [{number(value.low, digits)}, {number(value.high, digits)}]"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table; floats to six digits.

    >>> print(table([{"model": "ensemble", "bets": 3, "l2": 0.05176340429}]))
    | model | bets | l2 |
    | --- | --- | --- |
    | ensemble | 3 | 0.0517634 |
    """
    if not rows:
        return "(no rows)"
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(_cell(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def staking_page(verdicts: Sequence[StakingVerdict]) -> dg.MetadataValue:
    """An agent's stakes beside rules of thumb, a table for each probability the rules rely on, and what follows."""
    parts: list[str] = []
    for verdict in verdicts:
        parts.append(f"Rules on the probability of **{verdict.probability_of}**, agent over {verdict.seeds} seeds:")
        parts.append(
            table(
                [
                    {
                        "stakes": row.name,
                        "final bankroll": number(row.final_bankroll),
                        "growth": interval(row.growth),
                        "max drawdown": interval(row.max_drawdown),
                        "risk of ruin": number(row.risk_of_ruin),
                        "agent's monthly log growth above": interval(verdict.advantages.get(row.name)),
                    }
                    for row in verdict.rows
                ]
            )
        )
        parts.append("\n".join(f"- {sentence}" for _, sentence in verdict.findings()))
    return page(*parts)


def report_metadata(settings: Settings, made: ReportRecord) -> dict[str, dg.MetadataValue | int | str]:
    """A browser opens no file for a page from a server, so the link goes to MLflow, if it shows the same page."""
    facts: dict[str, dg.MetadataValue | int | str] = {}
    if made.run_id is not None:
        facts["report"] = dg.MetadataValue.url(run_page(settings, made.run_id, f"reports/{made.kind}.html"))
    return {
        **facts,
        "file": dg.MetadataValue.path(made.url),
        "open_with": f"cleverbetter report --kind {made.kind} --as-of {made.as_of}",
        "size_bytes": made.size_bytes,
        "sha256": made.sha256,
    }
