"""Pictures of a tuning study, as PNG bytes, in the manner of `plots`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from cleverbetter_dagster.evaluation.plots.models import INK, MODEL, MUTED, _figure, _finish, _png

TITLES = {"auc": "AUC", "brier": "Brier score", "log_loss": "log loss", "growth": "log growth per decision time"}


def optimisation_history(
    values: Sequence[float | None], default: float, metric: str, *, maximise: bool = True
) -> bytes:
    """Score of every trial in order, the best so far, and that of the defaults.

    Args:
        values: of each trial; None where it was pruned, which is marked at the bottom.
        default: value of the family's defaults.
        metric: key of `TITLES`, or any name.
        maximise: whether more is better.
    """
    value = np.array([np.nan if one is None else one for one in values], dtype=float)
    trial = np.arange(1, len(value) + 1)
    done = ~np.isnan(value)
    best = (np.fmax if maximise else np.fmin).accumulate(value) if len(value) else value
    title = TITLES.get(metric, metric)
    pruned = int((~done).sum())
    figure = _figure("Optimisation history", f"mean {title} over the folds; {len(value)} trials, {pruned} pruned")
    axes = figure.subplots()
    axes.axhline(default, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label=f"defaults  {default:.4f}")
    axes.scatter(trial[done], value[done], s=16, color=MODEL, alpha=0.45, linewidth=0, label="trial")
    if done.any():
        axes.plot(trial, best, color=MODEL, linewidth=2.2, label=f"best so far  {best[-1]:.4f}")
    if pruned:
        axes.plot(
            trial[~done], np.full(pruned, 0.02), "|", color=MUTED, transform=axes.get_xaxis_transform(), label="pruned"
        )
    _finish(axes, "trial", title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Above the axes: inside, it would hide trials.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    return _png(figure)


def parameter_importances(importances: Mapping[str, float], metric: str) -> bytes:
    """Share of each hyperparameter in what tells good trials from others, largest on top.

    Args:
        importances: shares >= 0 by name, at least one.
        metric: key of `TITLES`, or any name.
    """
    ordered = sorted(importances.items(), key=lambda item: item[1])
    names, shares = [name for name, _ in ordered], np.array([share for _, share in ordered])
    figure = _figure("Parameter importances", f"share of each in the {TITLES.get(metric, metric)} of the best trials")
    axes = figure.subplots()
    axes.barh(names, shares, color=MODEL, height=0.66)
    for position, share in enumerate(shares):
        axes.text(share, position, f" {share:.0%}", va="center", fontsize=8, color=MUTED)
    _finish(axes, "", "")
    axes.grid(visible=False)
    axes.set(xlim=(0, 1.15 * max(shares.max(), 1e-9)), xticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", labelsize=9, labelcolor=INK)
    return _png(figure)
