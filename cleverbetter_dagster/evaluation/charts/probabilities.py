"""Charts of probabilities: are they calibrated, how are they spread, and do they tell profitable windows apart?"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.evaluation.charts.chart import DASHED, MODEL, MUTED, PALE, Chart, Drawing
from cleverbetter_dagster.evaluation.metrics.calibration_error import (
    calibrated_deviation,
    calibration_error,
    reliability_curve,
)
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.texts import decimal, percent, whole_percent

HISTOGRAM_BINS = 25
NOTED = np.linspace(0, 1, 16)
"""Where a curve has notes: shares along its horizontal axis."""

TWO_SIDED = 1.96
"""Standard deviations on either side that hold 95% of a normal distribution."""

LEAST_RECALL = 0.03
"""Below, a few rows make the precision jump between 0 and 1."""


def reliability_chart(rows: ScoredRows) -> Chart:
    """Observed against stated frequency by bins of equal mass, with the band of a calibrated model around the diagonal.

    The band shows how far chance alone takes a bin of so many rows. Source: Broecker and Smith (2007), "Increasing the
    Reliability of Reliability Diagrams", Weather and Forecasting 22; here with luck that rows of a month share.
    """
    months = months_of(rows.decision_time)
    curve = reliability_curve(rows.label, rows.probability)
    stated, seen = curve.mean_probability, curve.observed
    reach = calibrated_deviation(rows.label, rows.probability, months) * TWO_SIDED
    low, high = np.maximum(stated - reach, 0.0), np.minimum(stated + reach, 1.0)
    error = calibration_error(rows.label, rows.probability, months)
    top = min(1.0, 1.08 * float(max(high.max(), seen.max(), 0.1)))
    drawing = Drawing("stated probability", "profitable next windows")
    drawing.axes.plot([0, top], [0, top], **DASHED)
    drawing.axes.fill_between(stated, low, high, color=MUTED, alpha=0.16, linewidth=0)
    drawing.axes.vlines(stated, low, high, color=PALE, linewidth=1.6)
    drawing.line(stated, seen)
    notes = [
        f"stated {percent(p)}, profitable {percent(share)}, {n:,} rows; calibrated: {percent(least)} to {percent(most)}"
        for p, share, n, least, most in zip(stated, seen, curve.count, low, high, strict=True)
    ]
    drawing.points(stated, seen, notes, 3.5, color=MODEL)
    drawing.axes.set(xlim=(0, top), ylim=(0, top))
    drawing.ticks(whole_percent, "xy")
    caption = (
        f"Calibration error {decimal(error)} without chance. On the dashed line, 30% means 30%; of a calibrated model "
        "19 of 20 points lie in the band."
    )
    return drawing.chart("Reliability", caption)


def probability_chart(label: ArrayLike, probability: ArrayLike) -> Chart:
    """How many rows were given which probability, profitable ones below the others."""
    stated, won = np.asarray(probability), np.asarray(label) == 1
    edges = np.linspace(0.0, min(1.0, max(0.1, 1.02 * float(stated.max()))), HISTOGRAM_BINS + 1)
    profitable, others = (np.histogram(part, edges)[0] for part in (stated[won], stated[~won]))
    drawing = Drawing("stated probability", "rows")
    parts = ((profitable, 0, MODEL, "profitable next window"), (others, profitable, PALE, "not profitable"))
    for rows, bottom, colour, name in parts:
        bars = drawing.axes.bar(edges[:-1], rows, np.diff(edges), bottom, align="edge", color=colour, label=name)
        for bar, start, end, good, rest in zip(bars, edges, edges[1:], profitable, others, strict=False):
            bar.set_url(f"{percent(start)} to {percent(end)}: {good + rest:,} rows, {good:,} profitable")
    drawing.axes.set_xlim(0, edges[-1])
    drawing.ticks(whole_percent, "x")
    return drawing.chart("Stated probabilities", f"How {len(stated):,} rows spread over the stated probabilities.")


def roc_chart(scored: Mapping[str, ScoredRows]) -> Chart:
    """ROC curves, the first as the model; none of a model whose labels are all alike."""
    from sklearn.metrics import roc_auc_score, roc_curve  # slow to import

    drawing = Drawing("false positive rate", "true positive rate")
    drawing.axes.plot([0, 1], [0, 1], **DASHED)
    for position, (name, rows) in enumerate(scored.items()):
        if not 0 < rows.label.mean() < 1:
            continue
        false_rate, true_rate, threshold = roc_curve(rows.label, rows.probability)
        drawing.line(false_rate, true_rate, position, f"{name} {decimal(roc_auc_score(rows.label, rows.probability))}")
        if position == 0:
            noted = np.unique(np.searchsorted(false_rate, NOTED[1:-1]))
            notes = [
                f"from {percent(threshold[place])}: {percent(true_rate[place])} of the profitable windows, "
                f"{percent(false_rate[place])} of the others"
                for place in noted
            ]
            drawing.points(false_rate[noted], true_rate[noted], notes, 2.5, color=MODEL)
    drawing.axes.set(xlim=(0, 1), ylim=(0, 1.01))
    drawing.ticks(whole_percent, "xy")
    caption = (
        "Share of the profitable windows that are selected against share of the others that are selected too, over all "
        "months together. Beside each name the area under its curve; the dashed line is chance."
    )
    return drawing.chart("ROC", caption)


def precision_recall_chart(scored: Mapping[str, ScoredRows]) -> Chart:
    """Precision against recall, the first as the model; none of a model that gives every row one probability."""
    from sklearn.metrics import average_precision_score, precision_recall_curve  # slow to import

    drawing, highest = Drawing("recall", "precision"), 0.0
    drawing.axes.axhline(float(next(iter(scored.values())).label.mean()), **DASHED)
    for position, (name, rows) in enumerate(scored.items()):
        if not rows.label.any() or len(np.unique(rows.probability)) == 1:
            continue
        precision, recall, threshold = precision_recall_curve(rows.label, rows.probability)
        many = recall >= LEAST_RECALL
        precision, recall, threshold = precision[many], recall[many], np.append(threshold, 1.0)[many]
        highest = max(highest, float(precision.max()))
        drawing.line(recall, precision, position,
                     f"{name} {decimal(average_precision_score(rows.label, rows.probability))}")  # fmt: skip
        if position == 0:
            noted = np.unique(np.searchsorted(-recall, -NOTED[recall[-1] <= NOTED]))
            notes = [
                f"from {percent(threshold[place])}: {percent(precision[place])} of those called are profitable, "
                f"{percent(recall[place])} of the profitable are called"
                for place in noted
            ]
            drawing.points(recall[noted], precision[noted], notes, 2.5, color=MODEL)
    drawing.axes.set(xlim=(0, 1), ylim=(0, min(1.01, 1.1 * (highest or 1.0))))
    drawing.ticks(whole_percent, "xy")
    caption = "Average precision beside each name; the dashed line is the share of profitable windows."
    return drawing.chart("Precision and recall", caption)
