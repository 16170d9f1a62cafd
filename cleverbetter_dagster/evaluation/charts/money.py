"""Charts of money: the bankroll over time, and how far it fell from its peak."""

from collections.abc import Mapping

import numpy as np

from cleverbetter_dagster.evaluation.charts.chart import DASHED, LOSS, Chart, Drawing, colour
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult
from cleverbetter_dagster.evaluation.texts import decimal, percent


def bankroll_chart(allocations: Mapping[str, AllocationResult]) -> Chart:
    """Realised bankroll over rounds of decisions, the first as the model."""
    drawing = Drawing("", "bankroll, start = 1")
    drawing.axes.axhline(1.0, **DASHED)
    for position, (name, allocation) in enumerate(allocations.items()):
        times, curve = _times(allocation), allocation.bankroll
        drawing.line(times, curve, position, f"{name} {percent(allocation.growth, signed=True)}")
        notes = [
            f"{name}, {np.datetime_as_string(time, 'D')}: {decimal(value)} ({percent(value - 1, signed=True)})"
            for time, value in zip(times, curve, strict=True)
        ]
        drawing.points(times, curve, notes, 1.6 if position else 2.8, color=colour(position))
    drawing.dates()
    caption = "Every stake settled when its window closed, gains reinvested; growth beside each name."
    return drawing.chart("Bankroll", caption)


def drawdown_chart(name: str, allocation: AllocationResult) -> Chart:
    """How far the bankroll was below its highest so far."""
    times, below = _times(allocation), allocation.bankroll / np.maximum.accumulate(allocation.bankroll) - 1.0
    drawing = Drawing("", "below the peak")
    drawing.axes.fill_between(times, below, color=LOSS, alpha=0.18, linewidth=0)
    drawing.axes.plot(times, below, color=LOSS, linewidth=1.5)
    notes = [
        f"{np.datetime_as_string(time, 'D')}: {percent(depth)} below the peak"
        for time, depth in zip(times, below, strict=True)
    ]
    drawing.points(times, below, notes, 2.8, color=LOSS)
    drawing.axes.set_ylim(min(1.1 * below.min(), -0.01), 0)
    drawing.ticks(percent, "y")
    drawing.dates()
    return drawing.chart("Drawdown", f"Of the bankroll staked by {name}; deepest {percent(below.min())}.")


def _times(allocation: AllocationResult) -> np.ndarray:
    """Decision times, and when the last one's windows have ended: a result is known when the next decision is due."""
    times = allocation.decision_time.tz_localize(None).to_numpy().astype("datetime64[s]")
    step = np.median(np.diff(times).astype(float)) if len(times) > 1 else 30 * 86400.0
    return np.append(times, times[-1] + np.timedelta64(int(step), "s"))
