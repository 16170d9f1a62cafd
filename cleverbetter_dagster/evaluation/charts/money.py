"""Charts of money: the bankroll over time, and how far it fell from its peak."""

from collections.abc import Mapping

import numpy as np

from cleverbetter_dagster.evaluation.charts.chart import (
    DASHED,
    LOSS,
    SERIES,
    Chart,
    date_axis,
    legend_below,
    line_style,
    new_axes,
    points,
)
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult
from cleverbetter_dagster.evaluation.texts import decimal, percent


def bankroll_chart(allocations: Mapping[str, AllocationResult]) -> Chart:
    """Bankroll over decision times, the first as the model."""
    figure, axes = new_axes("", "bankroll, start = 1")
    axes.axhline(1.0, **DASHED)
    for position, (name, allocation) in enumerate(allocations.items()):
        times, curve = _times(allocation), allocation.bankroll / allocation.bankroll[0]
        axes.plot(times, curve, label=f"{name} {percent(allocation.growth, signed=True)}", **line_style(position))
        notes = [
            f"{name}, {np.datetime_as_string(time, 'D')}: {decimal(value)} ({percent(value - 1, signed=True)})"
            for time, value in zip(times, curve, strict=True)
        ]
        points(axes, times, curve, notes, 1.6 if position else 2.8, color=SERIES[position % len(SERIES)])
    date_axis(axes)
    legend_below(figure)
    caption = "Stakes of every decision time settled together, gains reinvested; growth beside each name."
    return Chart("Bankroll", caption, figure)


def drawdown_chart(name: str, allocation: AllocationResult) -> Chart:
    """How far the bankroll was below its highest so far."""
    times, below = _times(allocation), allocation.bankroll / np.maximum.accumulate(allocation.bankroll) - 1.0
    deepest = float(below.min())
    figure, axes = new_axes("", "below the peak")
    axes.fill_between(times, below, color=LOSS, alpha=0.18, linewidth=0)
    axes.plot(times, below, color=LOSS, linewidth=1.5)
    notes = [
        f"{np.datetime_as_string(time, 'D')}: {percent(depth)} below the peak"
        for time, depth in zip(times, below, strict=True)
    ]
    points(axes, times, below, notes, 2.8, color=LOSS)
    axes.set_ylim(min(1.1 * deepest, -0.01), 0)
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))
    date_axis(axes)
    return Chart("Drawdown", f"Of the bankroll staked by {name}; deepest {percent(deepest)}.", figure)


def _times(allocation: AllocationResult) -> np.ndarray:
    """Decision times, and when the last one's windows have ended: a result is known when the next decision is due."""
    times = allocation.decision_time.tz_localize(None).to_numpy().astype("datetime64[s]")
    step = np.median(np.diff(times).astype(float)) if len(times) > 1 else 30 * 86400.0
    return np.append(times, times[-1] + np.timedelta64(int(step), "s"))
