"""Charts of the rows themselves: how a split cuts them, and how their quality moves."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.evaluation.charts.chart import (
    DASHED,
    MODEL,
    PALE,
    SERIES,
    Chart,
    date_axis,
    legend_below,
    line_style,
    new_axes,
    whole_percents,
)

PART_COLOURS = {"train": MODEL, "validation": SERIES[2], "test": SERIES[1], "purged": PALE}


def split_chart(counts: pd.DataFrame) -> Chart:
    """Examples by decision month and part, stacked.

    Args:
        counts: one row per month (index: the month's first instant, UTC, ascending), columns among `train`,
            `validation`, `test` and `purged`, values >= 0.
    """
    months = pd.DatetimeIndex(counts.index).tz_localize(None)
    figure, axes = new_axes("month of decision", "examples")
    bottom = pd.Series(0.0, index=counts.index)
    for part, colour in PART_COLOURS.items():
        if part in counts.columns:
            label = f"{part} {int(counts[part].sum()):,}"
            width = 0.86 * months.days_in_month.to_numpy(dtype=float)
            axes.bar(months, counts[part], width, bottom, align="edge", color=colour, label=label, linewidth=0)
            bottom += counts[part]
    date_axis(axes)
    legend_below(figure)
    total = int(counts.to_numpy().sum())
    caption = f"{total:,} examples by month of decision. Purged: the outcome was known too late."
    return Chart("Temporal split", caption, figure)


def composite_chart(composite: pd.DataFrame) -> Chart:
    """Composite scores by month: median, quartiles and the share below a bound.

    Args:
        composite: index `2023-12` ascending; columns `low` and `high` (quartiles), `median`, `below` (share, 0..1).
    """
    figure, axes = new_axes("month of decision", "composite score")
    times = np.asarray(composite.index, dtype="datetime64[M]")
    axes.fill_between(times, composite["low"], composite["high"], color=MODEL, alpha=0.16, linewidth=0)
    axes.plot(times, composite["median"], "o-", markersize=3, label="median and quartiles", **line_style(0))
    axes.plot([], [], label="share of low quality, on the right", **{**DASHED, "color": SERIES[1]})
    share = axes.twinx()
    share.plot(times, composite["below"], **{**DASHED, "color": SERIES[1], "linewidth": 1.3})
    share.set_ylim(0, 1)
    share.set_frame_on(False)
    share.tick_params(colors=SERIES[1], length=0)
    whole_percents(share.yaxis)
    date_axis(axes)
    legend_below(figure)
    return Chart("Composite scores", "Of the rows decided in each month.", figure)
