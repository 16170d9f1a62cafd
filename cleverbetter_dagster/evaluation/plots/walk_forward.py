"""Pictures of a walk-forward and of a champion over time, as PNG bytes, in the manner of `plots`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
from cleverbetter_dagster.evaluation.plots.models import (
    INK,
    MODEL,
    MUTED,
    SERIES,
    _date_axis,
    _figure,
    _finish,
    _legend,
    _line,
    _png,
)

FAINT = 0.16


def metric_by_month(monthly: pd.DataFrame, metric: str, title: str, subtitle: str, reference: float | None) -> bytes:
    """A metric over the months decided in, a line a model with its interval as a band for the first two.

    Args:
        monthly: one line a model and month: `model`, `month` as `2023-12`, `<metric>`, `<metric>_low`,
            `<metric>_high`; NaN where not defined. Models are drawn in order of appearance.
        metric: column to draw.
        title, subtitle: for people.
        reference: where a dashed line is drawn, such as one half for an AUC.
    """
    figure = _figure(title, subtitle)
    axes = figure.subplots()
    for index, (name, rows) in enumerate(monthly.groupby("model", sort=False)):
        times = month_numbers(rows["month"])
        axes.plot(times, rows[metric], "o-", markersize=3, label=str(name), **_line(index))
        if index < 2:
            colour = SERIES[index]
            axes.fill_between(
                times, rows[f"{metric}_low"], rows[f"{metric}_high"], color=colour, alpha=FAINT, linewidth=0
            )
    if reference is not None:
        axes.axhline(reference, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    _finish(axes, "month of decision", "")
    _date_axis(axes)
    _below(axes)
    return _png(figure)


def decay_plot(changes: Mapping[str, Sequence[tuple[int, Interval | None]]]) -> bytes:
    """Change of the AUC with the model's age, in months, against fresh models on the same rows, with intervals."""
    figure = _figure("Decay with age", "AUC of models so many months old minus that of fresh ones on the same rows")
    axes = figure.subplots()
    axes.axhline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for index, (name, steps) in enumerate(changes.items()):
        known = [(age, change) for age, change in steps if change is not None]
        if known:
            age = np.array([age for age, _ in known]) + 0.12 * index
            point, low, high = (np.array([getattr(c, end) for _, c in known]) for end in ("point", "low", "high"))
            axes.errorbar(
                age, point, np.maximum([point - low, high - point], 0), fmt="o-", markersize=4, capsize=2,
                elinewidth=1, label=name, color=SERIES[index % len(SERIES)],
            )  # fmt: skip
    _finish(axes, "age of the model in months", "AUC")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes, "", "best")
    return _png(figure)


def scores_over_time(composite: pd.DataFrame) -> bytes:
    """Composite scores by month: median, quartiles and the share below a bound.

    Args:
        composite: index `2023-12` ascending; columns `low` and `high` (quartiles), `median`, `below` (share, 0..1).
    """
    figure = _figure("Composite scores", "median and quartiles of the rows by month; dashed: share of low quality", 4.4)
    axes = figure.subplots()
    times = month_numbers(composite.index)
    axes.fill_between(times, composite["low"], composite["high"], color=MODEL, alpha=FAINT, linewidth=0)
    axes.plot(times, composite["median"], "o-", markersize=3, color=MODEL, linewidth=2.2, label="median")
    _finish(axes, "month of decision", "composite score")
    share = axes.twinx()
    share.plot(times, composite["below"], color=SERIES[1], linewidth=1.3, linestyle=(0, (4, 3)))
    _finish(share, "", "")
    share.grid(visible=False)
    share.set_ylim(0, 1)
    share.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _date_axis(axes)
    return _png(figure)


def month_numbers(months: Sequence[str] | pd.Index | pd.Series) -> np.ndarray:
    """Months as `2023-12` on matplotlib's time axis, at their first instant."""
    return date2num(np.asarray(months, dtype="datetime64[M]"))


def _below(axes: Axes) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=9, labelcolor=INK)
