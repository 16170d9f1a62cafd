"""What a report says, in the order it says it: plain frozen values, ready to be shown. Texts are not yet escaped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval

Tone = Literal["good", "bad", "plain"]

DASH = "–"


@dataclass(frozen=True)
class Number:
    """A figure for a person: its value, and below it the interval or what it is to be compared with."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Chart:
    """A picture as inline SVG, with its title, what it shows, and the meaning of its colours."""

    title: str
    caption: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    """Pairs of colour and label."""


@dataclass(frozen=True)
class Table:
    """Rows under headings. A cell is a text, or a `Number` whose label is not shown.

    The first column holds names; the others hold figures and stand to the right.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | Number, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with what belongs below it."""

    title: str
    text: str = ""
    numbers: tuple[Number, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Report:
    """One report.

    Attributes:
        verdict: a word or two beside the title, in the colour of `tone`.
        summary: the one paragraph: what was decided and why.
        reasons: the findings it rests on, a sentence each.
        provenance: names and values of what the report was made from.
        command: reproduces it, to be copied into a shell.
    """

    title: str
    subtitle: str
    verdict: str
    tone: Tone
    summary: str
    reasons: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    command: str = ""


def figure(value: float | None, digits: int = 3) -> str:
    """A number with that many decimals, a dash where there is none.

    >>> figure(0.12345), figure(None)
    ('0.123', '–')
    """
    return DASH if value is None or not math.isfinite(value) else _signed(f"{value:.{digits}f}")


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction as a percentage.

    >>> percent(-0.0123), percent(0.5, 0), percent(0.5, 0, signed=True), percent(-0.0001)
    ('−1.2%', '50%', '+50%', '0.0%')
    """
    if value is None or not math.isfinite(value):
        return DASH
    sign = "+" if signed else ""
    return _signed(f"{value:{sign}.{digits}%}")


def with_interval(label: str, interval: Interval | None, digits: int = 3, *, as_percent: bool = False) -> Number:
    """An estimate, with its interval below."""
    if interval is None:
        return Number(label, DASH, "not defined")
    ends = [interval.point, interval.low, interval.high]
    shown = [percent(end, 1) if as_percent else figure(end, digits) for end in ends]
    return Number(label, shown[0], f"{shown[1]} to {shown[2]}")


def _signed(text: str) -> str:
    """A number with a minus sign that is one; what is shown as nothing has no sign."""
    return text.replace("-", "−") if any(digit in text for digit in "123456789") else text.lstrip("+-")


def sentence_list(names: Sequence[str]) -> str:
    """Names as they stand in a sentence.

    >>> sentence_list(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
