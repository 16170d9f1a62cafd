"""Charts of the rows themselves: how a split cuts them, and how their quality moves."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.evaluation.charts.chart import DASHED, MODEL, PALE, SERIES, Chart, Drawing
from cleverbetter_dagster.evaluation.texts import whole_percent

PART_COLOURS = {"train": MODEL, "validation": SERIES[2], "test": SERIES[1], "purged": PALE}


def split_chart(counts: pd.DataFrame) -> Chart:
    """Examples by decision month and part, stacked.

    Args:
        counts: one row per month (index: the month's first instant, UTC, ascending), columns among `train`,
            `validation`, `test` and `purged`, values >= 0.
    """
    months = pd.DatetimeIndex(counts.index).tz_localize(None)
    width = 0.86 * months.days_in_month.to_numpy(dtype=float)
    drawing, bottom = Drawing("month of decision", "examples"), np.zeros(len(counts))
    for part in [name for name in PART_COLOURS if name in counts]:
        label = f"{part} {int(counts[part].sum()):,}"
        drawing.axes.bar(months, counts[part], width, bottom, align="edge", color=PART_COLOURS[part], label=label)
        bottom = bottom + counts[part].to_numpy()
    drawing.dates()
    total = int(counts.to_numpy().sum())
    return drawing.chart("Temporal split", f"{total:,} examples. Purged: the outcome was known too late.")


def composite_chart(composite: pd.DataFrame) -> Chart:
    """Composite scores by month: median, quartiles and the share below a bound.

    Args:
        composite: index `2023-12` ascending; columns `low` and `high` (quartiles), `median`, `below` (share, 0..1).
    """
    drawing, times = Drawing("month of decision", "composite score"), np.asarray(composite.index, dtype="datetime64[M]")
    drawing.axes.fill_between(times, composite["low"], composite["high"], color=MODEL, alpha=0.16, linewidth=0)
    drawing.line(times, composite["median"], 0, "median and quartiles")
    low_quality = {**DASHED, "color": SERIES[1], "linewidth": 1.3}
    drawing.axes.plot([], [], label="share of low quality, on the right", **low_quality)
    share = drawing.axes.twinx()
    share.plot(times, composite["below"], **low_quality)
    share.set(ylim=(0, 1), frame_on=False)
    share.tick_params(colors=SERIES[1], length=0)
    share.yaxis.set_major_formatter(lambda value, _: whole_percent(value))
    drawing.dates()
    return drawing.chart("Composite scores", "Of the rows decided in each month.")
