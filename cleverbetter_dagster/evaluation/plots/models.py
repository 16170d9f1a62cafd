"""Pictures of an evaluation, as PNG bytes.

Figures are drawn on matplotlib's Agg canvas directly: no window, no global pyplot state, safe in threads.
All are 770 pixels wide: they fit the page of the UI they are shown in.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike
from scipy import special

from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult
from cleverbetter_dagster.evaluation.metrics.calibration_error import DEFAULT_BINS, reliability_curve
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 7.0, 4.4, 110

INK, MUTED, RULE = "#1f2933", "#66717d", "#dfe3e8"
# The model in full colour, baselines behind it; told apart by eyes that confuse red and green too.
MODEL = "#0b6bcb"
SERIES = ("#0b6bcb", "#d9822b", "#4b9b7d", "#8e6bbf", "#7c8894", "#c2506f", "#a58a2b", "#3f4a55")
PARTS = {"train": "#0b6bcb", "validation": "#4b9b7d", "test": "#d9822b", "purged": "#b8c0c8"}


def reliability_diagram(label: ArrayLike, probability: ArrayLike, n_bins: int = DEFAULT_BINS) -> bytes:
    """Observed against stated frequency by bin of equal mass, 95% Wilson intervals, and where the rows lie."""
    curve = reliability_curve(label, probability, n_bins)
    low, high = wilson_interval(curve.observed, curve.count)
    figure = _figure("Reliability", f"calibration error {curve.calibration_error:.3f}, {curve.count.sum():,} rows")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top = 1.05 * max(high.max(), curve.mean_probability.max(), 0.1)
    above.plot([0, top], [0, top], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    error = np.maximum([curve.observed - low, high - curve.observed], 0)
    above.errorbar(
        curve.mean_probability, curve.observed, error, color=MODEL, marker="o", markersize=5, linewidth=1.6,
        elinewidth=1.2, capsize=3, label="observed, 95% interval",
    )  # fmt: skip
    _finish(above, "", "profitable next windows")
    above.set(xlim=(0, min(top, 1.0)), ylim=(0, min(top, 1.02)))
    above.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK)
    bars, edges = np.histogram(np.asarray(probability), bins=40, range=(0, min(top, 1.0)))
    below.bar(edges[:-1], bars, np.diff(edges), align="edge", color=MODEL, alpha=0.45, linewidth=0)
    _finish(below, "stated probability", "rows")
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    for axis in (above.xaxis, above.yaxis, below.xaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return _png(figure)


def roc_plot(scored: Mapping[str, ScoredRows]) -> bytes:
    """ROC curves, the first drawn as the model, the others behind it as baselines; none where labels all agree."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure = _figure("ROC", "share of profitable windows found against share of others let through")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for index, (name, rows) in enumerate(scored.items()):
        if 0 < rows.label.mean() < 1:
            false_positive, true_positive, _ = roc_curve(rows.label, rows.probability)
            auc = roc_auc_score(rows.label, rows.probability)
            axes.plot(false_positive, true_positive, label=f"{name}  {auc:.3f}", **_line(index))
    _finish(axes, "false positive rate", "true positive rate")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    _legend(axes, "area under the curve", "lower right")
    return _png(figure)


def precision_recall_plot(scored: Mapping[str, ScoredRows]) -> bytes:
    """Precision against recall, the first in full colour as the model; the base rate as a dashed line."""
    from sklearn.metrics import precision_recall_curve

    figure = _figure("Precision and recall", "of the windows called profitable, how many are; dashed: the base rate")
    axes = figure.subplots()
    for index, (name, rows) in enumerate(scored.items()):
        if not index:
            axes.axhline(rows.label.mean(), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        if rows.label.any():
            precision, recall, _ = precision_recall_curve(rows.label, rows.probability)
            # The first few rows alone make precision jump between 0 and 1: not worth the eye's attention.
            settled = recall >= 0.02
            axes.plot(recall[settled], precision[settled], label=name, **_line(index))
    _finish(axes, "recall", "precision")
    axes.set(xlim=(0, 1), ylim=(0, min(1.02, 1.25 * axes.dataLim.y1)))
    _legend(axes, "", "upper right")
    return _png(figure)


def bankroll_plot(allocations: Mapping[str, AllocationResult]) -> bytes:
    """Bankroll over decision times, the first in full colour as the model, the others as baselines."""
    figure = _figure("Bankroll", "stakes of every decision time settled together, gains reinvested; start = 1")
    axes = figure.subplots()
    for index, (name, result) in enumerate(allocations.items()):
        times = date2num(result.decision_time.tz_localize(None).to_numpy())
        # What a decision earned is known when the next one is due: the first point is the untouched bankroll.
        times = np.append(times, times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 30.0))
        label = f"{name}  {result.growth:+.1%}"
        axes.plot(times, result.bankroll / result.bankroll[0], "o-", markersize=3.5, label=label, **_line(index))
    axes.axhline(1.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    _finish(axes, "time", "bankroll")
    _date_axis(axes)
    _legend(axes, "growth", "best")
    return _png(figure)


def feature_importance_plot(importance: pd.Series, top: int = 20) -> bytes:
    """The `top` features with the largest importance, as shares of the sum over all features."""
    share = importance.astype(float).clip(lower=0)
    share = (share / (share.sum() or 1.0)).nlargest(top)[::-1]
    figure = _figure("Feature importance", f"the {len(share)} largest of {len(importance)}, share of the total", 5.4)
    axes = figure.subplots()
    axes.barh(share.index.astype(str), share.to_numpy(), color=MODEL, height=0.66)
    for position, value in enumerate(share):
        axes.text(value, position, f" {value:.1%}", va="center", fontsize=8, color=MUTED)
    _finish(axes, "", "")
    axes.grid(visible=False)
    axes.set(xlim=(0, 1.15 * max(share.max(), 1e-9)), xticks=[], ylim=(-0.6, len(share) - 0.4))
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", labelsize=9, labelcolor=INK)
    return _png(figure)


def split_timeline(counts: pd.DataFrame) -> bytes:
    """Examples by decision month and part, stacked.

    Args:
        counts: one row per month (index: the month's first instant, UTC, ascending), columns among `train`,
            `validation`, `test` and `purged`, values >= 0.
    """
    total = int(counts.to_numpy().sum())
    figure = _figure("Temporal split", f"{total:,} examples by month of decision; purged: outcome known too late")
    axes = figure.subplots()
    months = pd.DatetimeIndex(counts.index).tz_localize(None)
    left, width = date2num(months.to_numpy()), 0.86 * _month_lengths(months)
    bottom = np.zeros(len(counts))
    for part, colour in PARTS.items():
        if part in counts.columns:
            height = counts[part].to_numpy(dtype=float)
            label = f"{part}  {int(height.sum()):,}"
            axes.bar(left, height, width, bottom=bottom, align="edge", color=colour, label=label, linewidth=0)
            bottom += height
    _finish(axes, "month of decision", "examples")
    _date_axis(axes)
    axes.set_ylim(0, 1.22 * max(bottom.max(initial=0), 1))
    axes.legend(loc="upper left", ncols=4, frameon=False, fontsize=9, labelcolor=INK, columnspacing=1.4)
    return _png(figure)


def _figure(title: str, subtitle: str, height: float = HEIGHT_INCHES) -> Figure:
    # Title and subtitle stand above the axes, at the left edge of the picture.
    layout = ConstrainedLayoutEngine(rect=(0.01, 0.01, 0.975, 0.99 - 0.62 / height))
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    figure.text(0.02, 1 - 0.16 / height, title, fontsize=13, fontweight="bold", color=INK, va="top")
    figure.text(0.02, 1 - 0.40 / height, subtitle, fontsize=9.5, color=MUTED, va="top")
    return figure


def _line(index: int) -> dict[str, Any]:
    model = {"linewidth": 2.2, "zorder": 3}
    return {
        "color": SERIES[index % len(SERIES)],
        **(model if index == 0 else {"linewidth": 1.3, "zorder": 2}),
    }


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, fontsize=9.5, color=MUTED)
    axes.set_ylabel(y_label, fontsize=9.5, color=MUTED)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)


def _legend(axes: Axes, title: str, location: Literal["best", "lower right", "upper right"]) -> None:
    if not axes.get_legend_handles_labels()[0]:
        return
    legend = axes.legend(loc=location, title=title, frameon=False, fontsize=9, title_fontsize=9, labelcolor=INK)
    legend.set_alignment("left")
    legend.get_title().set_color(MUTED)


def _date_axis(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _month_lengths(months: pd.DatetimeIndex) -> np.ndarray:
    return months.days_in_month.to_numpy(dtype=float)


def wilson_interval(observed: np.ndarray, count: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a proportion. Source: Wilson (1927)."""
    z = float(special.ndtri((1 + level) / 2))
    centre = (observed + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(observed * (1 - observed) / count + z**2 / (4 * count**2))
    return centre - half, centre + half


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
