"""Charts of features: how much each counts, and which way it moves single probabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.evaluation.charts.chart import LOSS, MODEL, MUTED, PALE, SMALL, Chart, Drawing
from cleverbetter_dagster.evaluation.texts import percent

LOW_TO_HIGH = LinearSegmentedColormap.from_list("low_to_high", [MODEL, LOSS])


def importance_chart(importance: pd.Series, top: int = 20) -> Chart:
    """The `top` features with the largest importance, as shares of the sum over all features."""
    share = importance.astype(float).clip(lower=0)
    share = (share / (share.sum() or 1.0)).nlargest(top)
    return bar_chart("Feature importance", f"The {len(share)} largest of {len(importance)}, share of the total.", share)


def bar_chart(title: str, caption: str, shares: pd.Series) -> Chart:
    """Shares by name, each with its percentage, the first on top."""
    drawing, heights = Drawing(height=16 * len(shares) + 16), range(len(shares))[::-1]
    drawing.axes.barh(heights, shares, color=MODEL, height=0.66)
    for height, share in zip(heights, shares, strict=True):
        drawing.axes.text(share, height, f" {percent(share)}", va="center", fontsize=SMALL, color=MUTED)
    drawing.rows(shares.index.astype(str).tolist())
    drawing.axes.set(xlim=(0, 1.15 * max(shares.max(), 1e-9)), xticks=[])
    drawing.axes.spines["bottom"].set_visible(False)
    return drawing.chart(title, caption)


def influence_chart(influences: Mapping[str, float], usual: float, reached: float) -> Chart:
    """What each feature adds to one probability or takes from it, in the order given, the first on top.

    Args:
        influences: by feature and its value, in probability.
        usual: the probability they start from; `reached` is where all of them lead.
    """
    names, effects = list(influences), np.array(list(influences.values()))
    drawing, heights = Drawing("change of the probability", height=20 * len(names) + 48), range(len(names))[::-1]
    reach = 1.3 * float(np.abs(effects).max(initial=1e-6))
    drawing.axes.barh(heights, effects, color=np.where(effects < 0, LOSS, MODEL).tolist(), height=0.62)
    drawing.axes.axvline(0.0, color=PALE, linewidth=1.2)
    for height, effect in zip(heights, effects, strict=True):
        aside: Any = {"ha": "right" if effect < 0 else "left", "va": "center", "fontsize": SMALL, "color": MUTED}
        drawing.axes.text(effect, height, f" {percent(effect, signed=True)} ", **aside)
    drawing.rows(names)
    drawing.axes.set(xlim=(-reach, reach), xticks=[])
    drawing.axes.spines["bottom"].set_visible(False)
    caption = f"From {percent(usual)}, the mean of other strategies, to {percent(reached)}; the value beside each name."
    return drawing.chart("What moved the probability", caption)


def impact_chart(values: pd.DataFrame, features: pd.DataFrame, top: int = 12) -> Chart:
    """What each feature adds to or takes from the probability of single rows (SHAP values), strongest on top.

    Args:
        values: SHAP values in probability, shape (n, k).
        features: of the same rows, shape (n, k); the colour shows their rank.
        top: features shown.
    """
    strength = values.abs().mean().nlargest(top)
    reach = 1.05 * float(values[strength.index].abs().to_numpy().max(initial=1e-6))
    drawing = Drawing("change of the probability", height=22 * len(strength) + 40)
    drawing.axes.axvline(0.0, color=PALE, linewidth=1.6)
    for row, name in enumerate(reversed(strength.index)):
        notes = [
            f"{name} = {feature:.4g}: {percent(value, signed=True)}"
            for feature, value in zip(features[name], values[name], strict=True)
        ]
        colours = LOW_TO_HIGH(features[name].rank(pct=True).fillna(0.5).to_numpy())
        heights = row + _swarm(values[name].to_numpy(), reach)
        drawing.points(values[name], heights, notes, 2.0, c=colours, alpha=0.75)
    for colour, label in ((MODEL, "low value of the feature"), (LOSS, "high value")):
        drawing.axes.scatter([], [], color=colour, label=label)
    drawing.rows([f"{name} {percent(strength[name])}" for name in strength.index])
    drawing.axes.set_xlim(-reach, reach)
    drawing.axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    drawing.ticks(lambda value: percent(value, 0, signed=True), "x")
    caption = f"SHAP values of {len(values)} test rows, a dot each; beside a name the mean size of its effect."
    return drawing.chart("What moves the probability", caption)


def _swarm(values: FloatArray, reach: float) -> FloatArray:
    """How far each dot of a row steps aside so that dots of like value do not hide each other, within +-0.38."""
    column = pd.Series(np.round((values + reach) / (2 * reach) * 60))
    turn = column.groupby(column).cumcount().to_numpy()
    most = column.groupby(column).transform("size").to_numpy()
    side = np.where(turn % 2 == 0, 1.0, -1.0)
    return np.asarray(side * ((turn + 1) // 2) * np.minimum(0.16, 0.76 / most), dtype=np.float64)
