"""How charts look, and the one place that turns a chart into PNG (UI) or inline SVG (page).

Figures are drawn without pyplot: no window opens and no global state changes.
"""

import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

WIDTH, HEIGHT = 400.0, 270.0
"""Of a chart on a page, in points; a page scales it to its column."""

PNG_INCHES, PNG_DPI = 7.0, 110
"""A PNG is 770 pixels wide: it fits the UI."""

INK, MUTED, RULE = "#1c2530", "#5d6975", "#dfe3e8"
"""Colours of text, of text beside it, and of lines behind the data: those of the page's style sheet."""

SERIES = ("#0b6bcb", "#d9822b", "#4b9b7d", "#8e6bbf", "#7c8894", "#c2506f", "#a58a2b", "#3f4a55")
"""Colours of models by position, the model in question first. Readers who confuse red and green can tell them apart."""

MODEL, LOSS, PALE = SERIES[0], SERIES[5], "#b8c0c8"

SMALL, USUAL = 10.0, 10.5
DASHED: dict[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 1.5}

Format = Callable[[float], str]


@dataclass(frozen=True, eq=False)
class Chart:
    """A drawing and its words. A PNG has title and caption above the drawing; a page writes them itself."""

    title: str
    caption: str
    figure: Figure


class Drawing:
    """A chart in the making: axes in the style of all charts.

    Models are drawn by position: it gives the colour, and the first one stands out.
    """

    def __init__(self, x_label: str = "", y_label: str = "", height: float = HEIGHT) -> None:
        self.figure = Figure(figsize=(WIDTH / 72, height / 72), facecolor="none", layout="constrained")
        self.axes = axes = self.figure.subplots()
        axes.set_facecolor("none")
        axes.set_xlabel(x_label, fontsize=USUAL, color=MUTED)
        axes.set_ylabel(y_label, fontsize=USUAL, color=MUTED)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(RULE)
        axes.tick_params(colors=MUTED, labelsize=SMALL, length=0, pad=5)
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_axisbelow(True)

    def line(self, x: Any, y: Any, position: int = 0, label: str | None = None) -> None:
        """The line of a model."""
        width, layer = (1.3, 2) if position else (2.2, 3)
        self.axes.plot(x, y, label=label, color=colour(position), linewidth=width, zorder=layer)

    def points(self, x: Any, y: Any, notes: Iterable[str], radius: float = 3.0, **style: Any) -> None:
        """Dots, each with a note that a page shows on hover."""
        dots = self.axes.scatter(x, y, s=(2 * radius) ** 2, linewidths=0, clip_on=False, **{"zorder": 4, **style})
        dots.set_urls(list(notes))

    def ticks(self, shown: Format, axes: Literal["x", "y", "xy"]) -> None:
        """How values beside these axes are written."""
        for axis in axes:
            getattr(self.axes, f"{axis}axis").set_major_formatter(lambda value, _: shown(value))

    def dates(self) -> None:
        """Dates below the axes, no more words than needed."""
        locator = AutoDateLocator(minticks=3, maxticks=8)
        self.axes.xaxis.set_major_locator(locator)
        self.axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))

    def rows(self, names: list[str]) -> None:
        """Names down the left side, the first on top at height `len(names) - 1`, and nothing else beside the data."""
        self.axes.grid(visible=False)
        self.axes.set_ylim(-0.6, len(names) - 0.4)
        self.axes.set_yticks(range(len(names)), names[::-1])
        self.axes.tick_params(axis="y", labelcolor=INK)

    def chart(self, title: str, caption: str) -> Chart:
        """The finished chart. A legend goes below the axes, in as many columns as fit."""
        handles, labels = self.axes.get_legend_handles_labels()
        if labels:
            columns = max(1, int(WIDTH // (34 + 6.4 * max(map(len, labels)))))
            self.figure.set_figheight(self.figure.get_figheight() + -(-len(labels) // columns) * 15 / 72)
            self.figure.legend(
                handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=SMALL,
                labelcolor=INK, handlelength=1.2, handletextpad=0.5, columnspacing=1.2, labelspacing=0.3,
            )  # fmt: skip
        return Chart(title, caption, self.figure)


def colour(position: int) -> str:
    """Of the model at a position."""
    return SERIES[position % len(SERIES)]


def png(chart: Chart) -> bytes:
    """The chart as PNG, with its title and caption."""
    buffer = BytesIO()
    with _fixed_style(chart.figure), _titled(chart) as figure:
        figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white")
    return buffer.getvalue()


@contextmanager
def _titled(chart: Chart) -> Iterator[Figure]:
    """The figure at the size of a PNG, with room for its words above."""
    figure, before, layout = chart.figure, chart.figure.get_size_inches(), chart.figure.get_layout_engine()
    caption = textwrap.wrap(chart.caption, 88)
    head = 0.44 + 0.19 * len(caption)
    height = before[1] * PNG_INCHES / before[0] + head
    figure.set_size_inches(PNG_INCHES, height)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0.01, 0.01, 0.98, 0.98 - head / height)))
    words = [
        figure.text(0.02, 1 - 0.14 / height, chart.title, fontsize=13, fontweight="bold", color=INK, va="top"),
        figure.text(0.02, 1 - 0.40 / height, "\n".join(caption), fontsize=9.5, color=MUTED, va="top"),
    ]
    try:
        yield figure
    finally:
        for text in words:
            text.remove()
        figure.set_layout_engine(layout)
        figure.set_size_inches(*before)


@contextmanager
def _fixed_style(figure: Figure) -> Iterator[None]:
    """What must not depend on the machine or on names: a dollar sign in a name starts no formula."""
    with matplotlib.rc_context({"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}):
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        yield


def svg(chart: Chart, name: str) -> Markup:
    """The chart as inline SVG: texts stay texts in the page's font, and notes of points become titles.

    Args:
        name: begins every id, so that charts of one page do not mix theirs up.
    """
    buffer = StringIO()
    with _fixed_style(chart.figure):
        chart.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    ids: defaultdict[str, str] = defaultdict(lambda: f"{name}-{len(ids)}")
    for element in root.iter():
        _simplify(element, ids)
    words = {f"{name}-title": chart.title, f"{name}-desc": chart.caption}
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-labelledby": " ".join(words)}
    root.remove(root[0])  # a style sheet, which would hold for the whole page
    for position, (key, text) in enumerate(words.items()):
        root.insert(position, ElementTree.Element(key.removeprefix(f"{name}-"), id=key))
        root[position].text = text
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _simplify(element: ElementTree.Element, ids: Mapping[str, str]) -> None:
    """One element without namespaces, with ids and references of the page."""
    element.tag = element.tag.rpartition("}")[2]
    element.text, element.tail = ((text or "").strip() for text in (element.text, element.tail))
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    target, own_id = attributes.pop("href", None), attributes.pop("id", None)
    if element.tag == "a":
        element.tag, attributes = "g", {"class": "note"}
        title = ElementTree.Element("title")
        title.text = target
        element.insert(0, title)
    elif target is not None:
        attributes["href"] = f"#{ids[target[1:]]}"
    if own_id is not None and element.tag != "g":
        attributes["id"] = ids[own_id]
    if "clip-path" in attributes:
        attributes["clip-path"] = f"url(#{ids[attributes['clip-path'][5:-1]]})"
    for key in {"d", "x", "y", "width", "height"} & set(attributes):
        attributes[key] = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}", attributes[key])
    if "rotate(-0 " in attributes.get("transform", ""):
        del attributes["transform"]
    element.attrib = attributes
