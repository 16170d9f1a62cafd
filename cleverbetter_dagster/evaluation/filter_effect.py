"""What a quality filter removes, and how it changes the figures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_within_months_statistic, ratio_statistic
from cleverbetter_dagster.evaluation.intervals.months import Months
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows


class FilterEffect(BaseModel):
    """The figures of all rows, and how they change if only the rows that pass are used. An AUC is None where undefined.

    Attributes:
        rows, removed: all rows, and those the filter removes.
        strategies_removed: strategies that lose all their rows.
        base_rate, mean_return, auc_within_months, brier: of all rows; the return is that of the next window.
        ..._change: of the rows that pass minus of all rows. A filter without effect has intervals around 0.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    removed: int
    strategies_removed: int
    base_rate: float
    base_rate_change: Estimate
    mean_return: float
    mean_return_change: Estimate
    auc_within_months: float | None
    auc_within_months_change: Estimate
    brier: float
    brier_change: Estimate


def filter_effect(
    rows: ScoredRows, passes: ArrayLike, strategy: Sequence[object], spec: IntervalSpec | None = None
) -> FilterEffect:
    """Compare the rows that pass a filter with all rows, on the same months.

    Args:
        rows: all rows, also those the filter removes, as one model scored them.
        passes: which pass, bool, shape (n,).
        strategy: of each row, length n.
    """
    passed, who = np.asarray(passes, dtype=bool), np.asarray(strategy)
    if not passed.shape == who.shape == (len(rows),):
        raise InvalidInput(f"{len(rows)} rows, {passed.shape} flags, {who.shape} strategies: give one of each per row.")
    months = Months(rows.decision_time, spec)
    brier = brier_terms(rows.label, rows.probability)
    label, probability = rows.label, rows.probability
    auc = auc_within_months_statistic(months, label, probability)
    passed_auc = auc_within_months_statistic(months, label, probability, among=passed)
    of_all = months.point(auc)
    return FilterEffect(
        rows=len(rows),
        removed=int((~passed).sum()),
        strategies_removed=len(set(who.tolist()) - set(who[passed].tolist())),
        base_rate=float(label.mean()),
        base_rate_change=_mean_change(months, label, passed),
        mean_return=float(rows.next_roi.mean()),
        mean_return_change=_mean_change(months, rows.next_roi, passed),
        auc_within_months=of_all if np.isfinite(of_all) else None,
        auc_within_months_change=months.mean_interval(lambda weights: passed_auc(weights) - auc(weights)),
        brier=float(brier.mean()),
        brier_change=_mean_change(months, brier, passed),
    )


def _mean_change(months: Months, values: FloatArray, passed: np.ndarray) -> Estimate:
    part = ratio_statistic(months, np.where(passed, values, 0.0), passed.astype(np.float64))
    whole = ratio_statistic(months, values, np.ones(len(values)))
    return months.mean_interval(lambda weights: part(weights) - whole(weights))
