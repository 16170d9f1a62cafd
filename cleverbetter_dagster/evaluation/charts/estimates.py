"""Charts of estimates with their intervals: side by side, by month, and with a model's age."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from cleverbetter_dagster.evaluation.charts.chart import (
    DASHED,
    INK,
    MODEL,
    MUTED,
    SERIES,
    Chart,
    date_axis,
    legend_below,
    line_style,
    new_axes,
    points,
)
from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
from cleverbetter_dagster.evaluation.texts import decimal

BANDED_MODELS = 2
"""Intervals are drawn for so many models; more bands would hide each other."""

Format = Callable[[float], str]


def forest_chart(title: str, caption: str, rows: Sequence[tuple[str, Interval | None]], shown: Format) -> Chart:
    """Estimates below each other, each with its interval; the first stands out.

    Args:
        title, caption: of the chart.
        rows: name and estimate, from the top.
        shown: writes a value.
    """
    figure, axes = new_axes(height=22 * len(rows) + 22)
    for position, (name, interval) in enumerate(rows):
        height, colour = len(rows) - 1 - position, MUTED if position else MODEL
        if interval is not None:
            axes.hlines(height, interval.low, interval.high, color=colour, linewidth=1.6)
            note = f"{name}: {shown(interval.point)} ({shown(interval.low)} to {shown(interval.high)})"
            points(axes, [interval.point], [height], [note], 4.0, color=colour)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.06)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: shown(value))
    return Chart(title, caption, figure)


def monthly_chart(
    monthly: pd.DataFrame, metric: str, title: str, order: Sequence[str], reference: float | None = None
) -> Chart:
    """A metric over the months decided in, a line for each model, with its interval as a band for the first two.

    Args:
        monthly: one line a model and month: `model`, `month` as `2023-12`, `<metric>`, `<metric>_low`,
            `<metric>_high`; NaN where not defined.
        metric: column to draw.
        title: of the chart.
        order: names of models; the position gives the colour. Models without a line in `monthly` are left out.
        reference: where a dashed line is drawn, such as one half for an AUC.
    """
    figure, axes = new_axes()
    if reference is not None:
        axes.axhline(reference, **DASHED)
    banded = 0
    for position, name in enumerate(order):
        rows = monthly[monthly["model"] == name]
        if rows.empty:
            continue
        times = np.asarray(rows["month"], dtype="datetime64[M]")
        point, low, high = (rows[f"{metric}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        axes.plot(times, point, label=name, **line_style(position))
        if banded < BANDED_MODELS:
            axes.fill_between(times, low, high, color=SERIES[position % len(SERIES)], alpha=0.16, linewidth=0)
            banded += 1
        notes = [
            f"{name}, {month}: {decimal(value, 2)} ({decimal(low[place], 2)} to {decimal(high[place], 2)})"
            for place, (month, value) in enumerate(zip(rows["month"], point, strict=True))
        ]
        points(axes, times, point, notes, 2.2, color=SERIES[position % len(SERIES)])
    date_axis(axes)
    legend_below(figure)
    better = "Lower is better." if reference is None else "Higher is better; the dashed line is chance."
    caption = f"{better} Of models a month old; bands: 95% intervals by resampling strategies."
    return Chart(title, caption, figure)


def decay_chart(changes: Mapping[str, Sequence[tuple[int, Interval | None]]]) -> Chart:
    """Change of the AUC with the model's age, in months, with intervals, by name."""
    figure, axes = new_axes("age of the model in months", "change of AUC")
    axes.axhline(0.0, **DASHED)
    for position, (name, steps) in enumerate(changes.items()):
        known = [(age + 0.12 * position, change) for age, change in steps if change is not None]
        if not known:
            continue
        ages, colour = np.array([age for age, _ in known]), SERIES[position % len(SERIES)]
        point, low, high = (np.array([getattr(one, end) for _, one in known]) for end in ("point", "low", "high"))
        axes.plot(ages, point, label=name, **line_style(position))
        axes.vlines(ages, low, high, color=colour, linewidth=1)
        notes = [f"{name}, {int(age)} months: {change}" for age, change in known]
        points(axes, ages, point, notes, 2.8, color=colour)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure)
    caption = "AUC of models so many months old minus that of models one month old on the same rows; 95% intervals."
    return Chart("Decay with age", caption, figure)
