"""Charts of estimates with their intervals: side by side, by month, and with a model's age."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from cleverbetter_dagster.evaluation.charts.chart import DASHED, MODEL, MUTED, Chart, Drawing, Format, colour
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.texts import decimal

BANDED_MODELS = 2
"""Intervals are drawn for so many models; more bands would hide each other."""


def forest_chart(title: str, caption: str, rows: Sequence[tuple[str, Estimate]], shown: Format) -> Chart:
    """Estimates below each other, each with its interval if it has one; the first stands out.

    Args:
        title, caption: of the chart.
        rows: name and estimate, from the top.
        shown: writes a value.
    """
    drawing = Drawing(height=22 * len(rows) + 22)
    for position, (name, estimate) in enumerate(rows):
        height, own = len(rows) - 1 - position, MUTED if position else MODEL
        if estimate.ends is not None:
            drawing.axes.hlines(height, *estimate.ends, color=own, linewidth=1.6)
        if estimate.point is not None:
            note = f"{name}: {shown(estimate.point)} ({estimate.span(shown)})"
            drawing.points([estimate.point], [height], [note], 4.0, color=own)
    drawing.axes.margins(x=0.06)
    drawing.rows([name for name, _ in rows])
    drawing.axes.get_yticklabels()[-1].set_fontweight("bold")
    drawing.axes.spines["bottom"].set_visible(False)
    drawing.axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    drawing.ticks(shown, "x")
    return drawing.chart(title, caption)


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
    drawing, by_model = Drawing(), dict(list(monthly.groupby("model")))
    drawn = [(position, name) for position, name in enumerate(order) if name in by_model]
    for position, name in drawn:
        rows = by_model[name]
        times = np.asarray(rows["month"], dtype="datetime64[M]")
        point, low, high = (rows[f"{metric}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        drawing.line(times, point, position, name)
        if (position, name) in drawn[:BANDED_MODELS]:
            drawing.axes.fill_between(times, low, high, color=colour(position), alpha=0.16, linewidth=0)
        notes = [
            f"{name}, {month}: {decimal(value, 2)} ({decimal(least, 2)} to {decimal(most, 2)})"
            for month, value, least, most in zip(rows["month"], point, low, high, strict=True)
        ]
        drawing.points(times, point, notes, 2.2, color=colour(position))
    if reference is not None:
        drawing.axes.axhline(reference, **DASHED)
    drawing.dates()
    better = "Lower is better." if reference is None else "Higher is better; the dashed line is chance."
    return drawing.chart(title, f"{better} Of models a month old; bands: 95% intervals by resampling strategies.")


def decay_chart(changes: Mapping[str, Sequence[tuple[int, Estimate | None]]]) -> Chart:
    """Change of the AUC with the model's age, in months, with intervals, by name."""
    drawing = Drawing("age of the model in months", "change of AUC")
    drawing.axes.axhline(0.0, **DASHED)
    for position, (name, steps) in enumerate(changes.items()):
        known = [(age, change) for age, change in steps if change is not None and change.point is not None]
        if not known:
            continue
        ages = np.array([age + 0.12 * position for age, _ in known])
        point, low, high = (
            np.array([getattr(one, end) for _, one in known], dtype=float) for end in ("point", "low", "high")
        )
        drawing.line(ages, point, position, name)
        drawing.axes.vlines(ages, low, high, color=colour(position), linewidth=1)
        notes = [f"{name}, {age} months: {change}" for age, change in known]
        drawing.points(ages, point, notes, 2.8, color=colour(position))
    drawing.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    caption = "AUC of models so many months old minus that of models one month old on the same rows; 95% intervals."
    return drawing.chart("Decay with age", caption)
