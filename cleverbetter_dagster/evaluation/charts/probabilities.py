"""Charts of probabilities: are they calibrated, how are they spread, and do they tell profitable windows apart?"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.evaluation.charts.chart import (
    DASHED,
    MODEL,
    PALE,
    Chart,
    legend_below,
    line_style,
    new_axes,
    points,
    whole_percents,
)
from cleverbetter_dagster.evaluation.metrics.calibration_error import reliability_curve
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.texts import decimal, percent

HISTOGRAM_BINS = 25
CURVE_POINTS, NOTED_POINTS = 80, 16
"""Points drawn of a curve, as many as an eye can see, and those with a note."""

LEAST_RECALL = 0.03
"""Below, a few rows make the precision jump between 0 and 1."""


def reliability_chart(label: ArrayLike, probability: ArrayLike) -> Chart:
    """Observed against stated frequency by bins of equal mass, with 95% Wilson intervals."""
    curve = reliability_curve(label, probability)
    wins = np.rint(curve.observed * curve.count).astype(int)
    intervals = [
        binomtest(int(won), int(count)).proportion_ci(method="wilson")
        for won, count in zip(wins, curve.count, strict=True)
    ]
    low, high = np.transpose(intervals)
    top = min(1.0, 1.08 * float(max(high.max(), curve.mean_probability.max(), 0.1)))
    figure, axes = new_axes("stated probability", "profitable next windows")
    axes.plot([0, top], [0, top], **DASHED)
    axes.plot(curve.mean_probability, curve.observed, **line_style(0))
    axes.vlines(curve.mean_probability, low, high, color=MODEL, linewidth=1.6)
    notes = [
        f"stated {percent(stated)}, profitable {percent(seen)} ({percent(one.low)} to {percent(one.high)}), {n:,} rows"
        for stated, seen, one, n in zip(curve.mean_probability, curve.observed, intervals, curve.count, strict=True)
    ]
    points(axes, curve.mean_probability, curve.observed, notes, 3.5, color=MODEL)
    axes.set(xlim=(0, top), ylim=(0, top))
    whole_percents(axes.xaxis, axes.yaxis)
    caption = f"Calibration error {decimal(curve.calibration_error)}. On the dashed line, 30% means 30%. 95% intervals."
    return Chart("Reliability", caption, figure)


def probability_chart(label: ArrayLike, probability: ArrayLike) -> Chart:
    """How many rows were given which probability, profitable ones below the others."""
    stated, won = np.asarray(probability), np.asarray(label) == 1
    edges = np.linspace(0.0, min(1.0, max(0.1, 1.02 * float(stated.max()))), HISTOGRAM_BINS + 1)
    profitable, others = (np.histogram(part, edges)[0] for part in (stated[won], stated[~won]))
    figure, axes = new_axes("stated probability", "rows")
    low = axes.bar(edges[:-1], profitable, np.diff(edges), align="edge", color=MODEL, alpha=0.6, linewidth=0)
    high = axes.bar(edges[:-1], others, np.diff(edges), profitable, align="edge", color=PALE, linewidth=0)
    for place, (good, rest) in enumerate(zip(profitable, others, strict=True)):
        note = f"{percent(edges[place])} to {percent(edges[place + 1])}: {good + rest:,} rows, {good:,} profitable"
        low[place].set_url(note)
        high[place].set_url(note)
    low.set_label("profitable next window")
    high.set_label("not profitable")
    axes.set_xlim(0, edges[-1])
    whole_percents(axes.xaxis)
    legend_below(figure)
    return Chart("Stated probabilities", f"How {len(stated):,} rows spread over the stated probabilities.", figure)


def roc_chart(scored: Mapping[str, ScoredRows]) -> Chart:
    """ROC curves, the first as the model; none of a model whose labels are all alike."""
    from sklearn.metrics import roc_auc_score, roc_curve  # slow to import

    figure, axes = new_axes("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], **DASHED)
    for position, (name, rows) in enumerate(scored.items()):
        if not 0 < rows.label.mean() < 1:
            continue
        false_positive, true_positive, threshold = roc_curve(rows.label, rows.probability)
        label = f"{name} {decimal(roc_auc_score(rows.label, rows.probability))}"
        drawn = _spread(false_positive, CURVE_POINTS)
        axes.plot(false_positive[drawn], true_positive[drawn], label=label, **line_style(position))
        if position == 0:
            noted = _spread(false_positive, NOTED_POINTS)[1:-1]
            notes = [
                f"from {percent(threshold[place])}: {percent(true_positive[place])} of the profitable windows, "
                f"{percent(false_positive[place])} of the others"
                for place in noted
            ]
            points(axes, false_positive[noted], true_positive[noted], notes, 2.5, color=MODEL)
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    whole_percents(axes.xaxis, axes.yaxis)
    legend_below(figure)
    caption = (
        "Share of profitable windows found against share of the others let through. Beside each name the area "
        "under its curve; the dashed line is chance."
    )
    return Chart("ROC", caption, figure)


def precision_recall_chart(scored: Mapping[str, ScoredRows]) -> Chart:
    """Precision against recall, the first as the model; none of a model that gives every row one probability."""
    from sklearn.metrics import average_precision_score, precision_recall_curve  # slow to import

    figure, axes = new_axes("recall", "precision")
    axes.axhline(float(next(iter(scored.values())).label.mean()), **DASHED)
    highest = 0.0
    for position, (name, rows) in enumerate(scored.items()):
        if not rows.label.any() or len(np.unique(rows.probability)) == 1:
            continue
        precision, recall, threshold = precision_recall_curve(rows.label, rows.probability)
        precision, recall, threshold = (
            values[recall >= LEAST_RECALL] for values in (precision, recall, np.append(threshold, 1.0))
        )
        highest = max(highest, float(precision.max()))
        label = f"{name} {decimal(average_precision_score(rows.label, rows.probability))}"
        drawn = _spread(recall, CURVE_POINTS)
        axes.plot(recall[drawn], precision[drawn], label=label, **line_style(position))
        if position == 0:
            noted = _spread(recall, NOTED_POINTS)
            notes = [
                f"from {percent(threshold[place])}: {percent(precision[place])} of those called are profitable, "
                f"{percent(recall[place])} found"
                for place in noted
            ]
            points(axes, recall[noted], precision[noted], notes, 2.5, color=MODEL)
    axes.set(xlim=(0, 1), ylim=(0, min(1.01, 1.1 * (highest or 1.0))))
    whole_percents(axes.xaxis, axes.yaxis)
    legend_below(figure)
    caption = "Average precision beside each name; the dashed line is the share of profitable windows."
    return Chart("Precision and recall", caption, figure)


def _spread(values: FloatArray, count: int) -> np.ndarray:
    """Positions of about `count` points, evenly along the values (which are monotonic), both ends among them."""
    ascending = values if values[-1] >= values[0] else values[::-1]
    places = np.searchsorted(ascending, np.linspace(ascending[0], ascending[-1], count)).clip(0, len(values) - 1)
    if ascending is not values:
        places = len(values) - 1 - places
    return np.unique(np.concatenate([[0], places, [len(values) - 1]]))
