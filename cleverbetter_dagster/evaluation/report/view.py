"""What a report says, in the order it says it: plain frozen values, ready to be shown. Texts are not yet escaped."""

from dataclasses import dataclass
from typing import Literal

from cleverbetter_dagster.evaluation.charts.chart import Chart
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.texts import DASH, decimal, percent

Tone = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class Number:
    """A figure for a person: its value, and below it the interval or what it is to be compared with."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere."""

    text: str
    href: str


@dataclass(frozen=True)
class Notice:
    """A sentence that must be seen. What stands in backticks is shown as code."""

    text: str
    tone: Tone = "bad"


@dataclass(frozen=True)
class Table:
    """Rows under headings. A cell is a text, a `Link`, or a `Number` whose label is not shown.

    The first column holds names; the others hold figures and stand to the right, but for those under the headings
    `texts`.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | Number | Link, ...], ...]
    note: str = ""
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading with what belongs below it."""

    title: str
    text: str = ""
    notices: tuple[Notice, ...] = ()
    numbers: tuple[Number, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Report:
    """One report.

    Attributes:
        headline: a word or two above the summary, in the colour of `tone`.
        summary: the one paragraph: what was decided and why.
        reasons: the findings it rests on, a sentence each; `open_reasons` shows them without being asked.
        provenance: names and values of what the report was made from.
        command: reproduces it, to be copied into a shell.
        links: above everything; `search` is where a form beside them sends the name of a strategy.
        notices: below the summary.
    """

    title: str
    subtitle: str
    headline: str
    tone: Tone
    summary: str
    reasons: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    command: str = ""
    open_reasons: bool = True
    links: tuple[Link, ...] = ()
    search: str = ""
    notices: tuple[Notice, ...] = ()


def with_interval(label: str, estimate: Estimate | None, digits: int = 3, *, as_percent: bool = False) -> Number:
    """An estimate, with its interval below, or the reason why there is none. None: there is nothing to estimate."""
    if estimate is None:
        return Number(label, DASH, "not judged")

    def shown(value: float | None) -> str:
        return percent(value, 1) if as_percent else decimal(value, digits)

    return Number(label, shown(estimate.point), estimate.span(shown))
