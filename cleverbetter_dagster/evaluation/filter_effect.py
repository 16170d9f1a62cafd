"""What a quality filter removed, and how the numbers look without it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec, Interval
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic, ratio_statistic
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows


class FilterEffect(BaseModel):
    """The figures of all rows, and what keeping only those that pass changes in them. None where not defined.

    Attributes:
        rows, removed: all rows, and those the filter removes.
        strategies_removed: strategies none of whose rows pass.
        base_rate, mean_return, roc_auc, brier: of all rows; the return is that of the next window.
        ..._change: that of the rows kept minus that of all rows. A filter that changes nothing has intervals around 0.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    removed: int
    strategies_removed: int
    base_rate: float
    base_rate_change: Interval | None
    mean_return: float
    mean_return_change: Interval | None
    roc_auc: float | None
    roc_auc_change: Interval | None
    brier: float
    brier_change: Interval | None


def filter_effect(
    rows: ScoredRows, kept: ArrayLike, strategy: Sequence[object], spec: BootstrapSpec | None = None
) -> FilterEffect:
    """Compare the rows that pass a filter with all rows, resampling months for both at once.

    Args:
        rows: all rows, also those the filter would remove, as one model scored them.
        kept: which pass, bool, shape (n,).
        strategy: of each row, length n.
    """
    keep, who = np.asarray(kept, dtype=bool), np.asarray(strategy)
    if not keep.shape == who.shape == (len(rows),):
        raise InvalidInput(f"{len(rows)} rows, {keep.shape} flags, {who.shape} strategies: give one of each per row.")
    bootstrap = BlockBootstrap(rows.decision_time, spec)
    brier = brier_terms(rows.label, rows.probability)
    label, probability = rows.label, rows.probability
    auc = auc_statistic(bootstrap, label, probability)
    kept_auc = auc_statistic(bootstrap, label, probability, among=keep)
    everything = np.ones((1, bootstrap.n_months))
    found = float(auc(everything)[0])
    return FilterEffect(
        rows=len(rows),
        removed=int((~keep).sum()),
        strategies_removed=len(set(who.tolist()) - set(who[keep].tolist())),
        base_rate=float(label.mean()),
        base_rate_change=_mean_change(bootstrap, label, keep),
        mean_return=float(rows.next_roi.mean()),
        mean_return_change=_mean_change(bootstrap, rows.next_roi, keep),
        roc_auc=found if np.isfinite(found) else None,
        roc_auc_change=bootstrap.interval(lambda weights: kept_auc(weights) - auc(weights)),
        brier=float(brier.mean()),
        brier_change=_mean_change(bootstrap, brier, keep),
    )


def _mean_change(bootstrap: BlockBootstrap, values: FloatArray, keep: np.ndarray) -> Interval | None:
    kept = ratio_statistic(bootstrap, np.where(keep, values, 0.0), keep.astype(np.float64))
    whole = ratio_statistic(bootstrap, values, np.ones(len(values)))
    return bootstrap.interval(lambda weights: kept(weights) - whole(weights))
