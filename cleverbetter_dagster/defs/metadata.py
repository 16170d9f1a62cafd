"""How results are shown in Dagster's UI: pictures, intervals and tables."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from cleverbetter_dagster.evaluation.bootstrap import Interval


def page(*parts: str) -> dg.MetadataValue:
    """Markdown in one piece, which the UI shows with one click: tables and pictures below each other."""
    return dg.MetadataValue.md("\n\n".join(parts))


def picture(png: bytes, title: str) -> str:
    """A PNG as Markdown that needs no file to be fetched."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


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
    """Rows of equal keys as a Markdown table.

    >>> print(table([{"model": "ensemble", "bets": 3}]))
    | model | bets |
    | --- | --- |
    | ensemble | 3 |
    """
    if not rows:
        return "(no rows)"
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(str(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines)
