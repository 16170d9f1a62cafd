"""A small drawing board for charts as inline SVG: linear scales, axes, lines, points that tell their numbers on hover.

Everything scales with the page. Fonts and rules come from the page's style sheet (classes `tick`, `rule`, `label`).
Hovering tells through `<title>`, so nothing of it needs a script.
"""

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 400.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 18.0, 10.0, 38.0

Format = Callable[[float], str]
Points = Sequence[tuple[float, float]] | np.ndarray


class Board:
    """A chart in the making.

    Args:
        x_range, y_range: values at the ends of the axes, low < high.
        height: of the picture; its width is `WIDTH`.
        left: room for the labels beside the vertical axis.
    """

    def __init__(
        self,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        height: float = HEIGHT,
        left: float = LEFT,
        bottom: float = BOTTOM,
    ) -> None:
        self._x, self._y = _opened(x_range), _opened(y_range)
        self._height, self._left, self._bottom = height, left, bottom
        self._parts: list[Markup] = []

    def x(self, value: float) -> float:
        """Horizontal place of a value."""
        low, high = self._x
        return self._left + (value - low) / (high - low) * (WIDTH - self._left - RIGHT)

    def y(self, value: float) -> float:
        """Vertical place of a value."""
        low, high = self._y
        return TOP + (high - value) / (high - low) * (self._height - TOP - self._bottom)

    def x_axis(self, title: str, shown: Format, ticks: Sequence[float] | None = None) -> None:
        """Ticks below the chart, and what the axis means."""
        base = self._height - self._bottom
        for tick in _ticks(self._x, ticks):
            self._text(self.x(tick), base + 15, shown(tick), "tick", "middle")
        if title:
            self._text((self._left + WIDTH - RIGHT) / 2, self._height - 4, title, "label", "middle")

    def y_axis(self, title: str, shown: Format, ticks: Sequence[float] | None = None) -> None:
        """Rules across the chart with their values."""
        for tick in _ticks(self._y, ticks):
            height = self.y(tick)
            self._add('<line class="rule" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>', self._left, WIDTH - RIGHT,
                      height, height)  # fmt: skip
            self._text(self._left - 6, height + 3.5, shown(tick), "tick", "end")
        if title:
            middle = (TOP + self._height - self._bottom) / 2
            self._add('<text class="label" text-anchor="middle" transform="translate(11 {:.1f}) rotate(-90)">{}</text>',
                      middle, title)  # fmt: skip

    def line(self, points: Points, colour: str, width: float = 1.5, *, dashed: bool = False) -> None:
        """A line through points."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dash = Markup(' stroke-dasharray="4 3"') if dashed else ""
        self._add('<polyline fill="none" stroke="{}" stroke-width="{}"{} points="{}"/>', colour, width, dash, places)

    def area(self, points: Points, colour: str, base: float = 0.0) -> None:
        """The area between points and a level."""
        closed = [(points[0][0], base), *points, (points[-1][0], base)]
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in closed)
        self._add('<polygon fill="{}" fill-opacity="0.18" points="{}"/>', colour, places)

    def point(self, place: tuple[float, float], colour: str, told: str, radius: float = 3.5) -> None:
        """A point that tells its numbers; the place that reacts is larger than the point."""
        self._add(
            '<g><title>{}</title><circle cx="{:.1f}" cy="{:.1f}" r="9" fill-opacity="0"/>'
            '<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"/></g>',
            told, *(self.x(place[0]), self.y(place[1])) * 2, radius, colour,
        )  # fmt: skip

    def dot(self, place: tuple[float, float], colour: str, told: str) -> None:
        """One of many small points."""
        self._add('<circle cx="{:.1f}" cy="{:.1f}" r="2.2" fill="{}" fill-opacity="0.75"><title>{}</title></circle>',
                  self.x(place[0]), self.y(place[1]), colour, told)  # fmt: skip

    def whisker(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        """A straight stroke, such as an interval."""
        self._add('<line stroke="{}" stroke-width="1.6" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>', colour,
                  self.x(start[0]), self.y(start[1]), self.x(end[0]), self.y(end[1]))  # fmt: skip

    def bar(self, low: tuple[float, float], high: tuple[float, float], colour: str, told: str) -> None:
        """A filled rectangle between two corners."""
        left, right = sorted((self.x(low[0]), self.x(high[0])))
        top, bottom = sorted((self.y(low[1]), self.y(high[1])))
        self._add('<rect fill="{}" fill-opacity="0.55" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                  "<title>{}</title></rect>", colour, left, top, right - left, bottom - top, told)  # fmt: skip

    def name(self, y: float, text: str, kind: str = "name") -> None:
        """A name at the left edge, at the height of a value."""
        self._text(0, self.y(y) + 4, text, kind, "start")

    def svg(self, described: str) -> Markup:
        """The finished picture; `described` is read aloud to those who cannot see it."""
        head = Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">').format(
            WIDTH, self._height, described
        )
        return Markup("").join([head, *self._parts, Markup("</svg>")])

    def _text(self, x: float, y: float, text: str, kind: str, anchor: str) -> None:
        self._add('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', kind, x, y, anchor, text)

    def _add(self, template: str, *values: object) -> None:
        """Every text is escaped on its way into the template."""
        safe = [escape(value) if isinstance(value, str) else value for value in values]
        self._parts.append(Markup(template.format(*safe)))


def _opened(ends: tuple[float, float]) -> tuple[float, float]:
    """A range of some width, also where all values are alike."""
    low, high = ends
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(ends: tuple[float, float], ticks: Sequence[float] | None) -> list[float]:
    found = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends) if ticks is None else ticks
    slack = 1e-9 * (ends[1] - ends[0])
    return [float(tick) for tick in found if ends[0] - slack <= tick <= ends[1] + slack]
