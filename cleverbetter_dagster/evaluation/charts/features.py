"""Charts of features: how much each counts, and which way it moves single probabilities."""

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.evaluation.charts.chart import (
    INK,
    LOSS,
    MODEL,
    MUTED,
    PALE,
    SMALL,
    Chart,
    legend_below,
    new_axes,
    points,
)
from cleverbetter_dagster.evaluation.texts import percent

ROW_HEIGHT = 22.0
LOW_TO_HIGH = LinearSegmentedColormap.from_list("low_to_high", [MODEL, LOSS])


def importance_chart(importance: pd.Series, top: int = 20) -> Chart:
    """The `top` features with the largest importance, as shares of the sum over all features."""
    share = importance.astype(float).clip(lower=0)
    share = (share / (share.sum() or 1.0)).nlargest(top)
    return bar_chart("Feature importance", f"The {len(share)} largest of {len(importance)}, share of the total.", share)


def bar_chart(title: str, caption: str, shares: pd.Series) -> Chart:
    """Shares by name, each with its percentage, the first on top."""
    names, values = shares.index[::-1].astype(str).tolist(), shares.to_numpy(dtype=float)[::-1]
    figure, axes = new_axes(height=16 * len(names) + 16)
    axes.barh(names, values, color=MODEL, height=0.66)
    for position, value in enumerate(values):
        axes.text(value, position, f" {percent(value)}", va="center", fontsize=SMALL, color=MUTED)
    axes.grid(visible=False)
    axes.set(xlim=(0, 1.15 * max(values.max(), 1e-9)), xticks=[], ylim=(-0.6, len(names) - 0.4))
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", labelcolor=INK)
    return Chart(title, caption, figure)


def impact_chart(values: pd.DataFrame, features: pd.DataFrame, top: int = 12) -> Chart:
    """What each feature adds to or takes from the probability of single rows (SHAP values), strongest on top.

    Args:
        values: SHAP values in probability, shape (n, k).
        features: of the same rows, shape (n, k); the colour shows their rank.
        top: features shown.
    """
    strength = values.abs().mean().nlargest(top)
    reach = 1.05 * float(values[strength.index].abs().to_numpy().max(initial=1e-6))
    figure, axes = new_axes("change of the probability", height=ROW_HEIGHT * len(strength) + 40)
    axes.axvline(0.0, color=PALE, linewidth=1.6)
    for row, name in enumerate(reversed(strength.index)):
        notes = [
            f"{name} = {feature:.4g}: {percent(value, signed=True)}"
            for feature, value in zip(features[name], values[name], strict=True)
        ]
        rank = features[name].rank(pct=True).fillna(0.5)
        heights = row + _swarm(values[name].to_numpy(), reach)
        points(axes, values[name], heights, notes, 2.0, c=LOW_TO_HIGH(rank.to_numpy()), alpha=0.75)
    for colour, label in ((MODEL, "low value of the feature"), (LOSS, "high value")):
        axes.scatter([], [], color=colour, label=label)
    axes.grid(visible=False)
    axes.set(xlim=(-reach, reach), ylim=(-0.6, len(strength) - 0.4))
    axes.set_yticks(range(len(strength)), [f"{name} {percent(strength[name])}" for name in reversed(strength.index)])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: percent(value, 0, signed=True))
    legend_below(figure)
    caption = f"SHAP values of {len(values)} test rows, a dot each; beside a name the mean size of its effect."
    return Chart("What moves the probability", caption, figure)


def _swarm(values: FloatArray, reach: float) -> FloatArray:
    """How far each dot of a row steps aside so that dots of like value do not hide each other, within +-0.38."""
    column = pd.Series(np.round((values + reach) / (2 * reach) * 60))
    turn = column.groupby(column).cumcount().to_numpy()
    most = column.groupby(column).transform("size").to_numpy()
    step = np.minimum(0.16, 0.76 / np.maximum(most, 1))
    return np.where(turn % 2 == 0, 1.0, -1.0) * ((turn + 1) // 2) * step
