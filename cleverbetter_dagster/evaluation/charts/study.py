"""Charts of a tuning study.

Optuna's own matplotlib plots change pyplot's global style, cut long names off, and show neither the family's defaults
nor the pruned trials.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from cleverbetter_dagster.evaluation.charts.chart import DASHED, MODEL, MUTED, Chart, Drawing
from cleverbetter_dagster.evaluation.charts.features import bar_chart

METRIC_TITLES = {"auc": "AUC", "brier": "Brier score", "log_loss": "log loss", "growth": "log growth per round"}


def history_chart(values: Sequence[float | None], default: float, metric: str, *, maximise: bool = True) -> Chart:
    """Score of every trial in order, the best so far, and that of the family's defaults.

    Args:
        values: of each trial; None where it was pruned, which is marked at the bottom.
        default: value of the defaults.
        metric: key of `METRIC_TITLES`, or any name.
        maximise: whether more is better.
    """
    value = np.array(values, dtype=float)
    trial, pruned = np.arange(1, len(value) + 1), np.isnan(value)
    title = METRIC_TITLES.get(metric, metric)
    drawing = Drawing("trial", title)
    drawing.axes.axhline(default, **DASHED, label=f"defaults {default:.4f}")
    drawing.axes.scatter(trial[~pruned], value[~pruned], s=16, color=MODEL, alpha=0.45, linewidth=0, label="trial")
    if not pruned.all():
        best = (np.fmax if maximise else np.fmin).accumulate(value)
        drawing.line(trial, best, 0, f"best so far {best[-1]:.4f}")
    if pruned.any():
        at_the_bottom = drawing.axes.get_xaxis_transform()
        drawing.axes.plot(
            trial[pruned], 0.02 * pruned[pruned], "|", color=MUTED, transform=at_the_bottom, label="pruned"
        )
    drawing.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    caption = f"Mean {title} over the folds; {len(value)} trials, {pruned.sum()} pruned."
    return drawing.chart("Optimisation history", caption)


def parameter_chart(importances: Mapping[str, float], metric: str) -> Chart:
    """How far each hyperparameter tells good trials from others, largest on top.

    Args:
        importances: shares >= 0 by name, at least one.
        metric: key of `METRIC_TITLES`, or any name.
    """
    caption = f"Share of each in the {METRIC_TITLES.get(metric, metric)} of the best trials."
    return bar_chart("Parameter importances", caption, pd.Series(importances).sort_values(ascending=False))
