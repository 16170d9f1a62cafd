"""The table of a simulation: one line per way of retraining, its cost beside its quality."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.evaluation.gate import PromotionPolicy, compare
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec
from cleverbetter_dagster.evaluation.intervals.months import mean_interval
from cleverbetter_dagster.evaluation.leaderboard import NO_STAKES, leaderboard_row
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.services.evaluation.scored_table import scored_rows
from cleverbetter_dagster.services.simulation.retraining import SimulatedWay, Way

REFERENCE: Way = "monthly"
"""The way the others are compared with, row by row."""


class WayRow(BaseModel):
    """One way of retraining.

    Attributes:
        log_growth: mean logarithm of the bankroll's growth in a month.
        auc_lost: AUC within months of `REFERENCE` minus that of this way on the same rows; None for `REFERENCE` itself,
            and if it was not simulated.
        brier_lost: Brier score of this way minus that of `REFERENCE`; None likewise.
    """

    model_config = ConfigDict(frozen=True)

    way: Way
    fits: int
    updates: int
    cpu_seconds: float
    rows: int
    months: int
    auc_within_months: Estimate
    brier: Estimate
    log_growth: Estimate
    auc_lost: Estimate | None
    brier_lost: Estimate | None


def way_rows(results: Sequence[SimulatedWay], spec: IntervalSpec | None = None) -> list[WayRow]:
    """A line for each way, in the same order."""
    scored = {result.way: scored_rows(result.scored) for result in results}
    return [_row(result, scored, spec or IntervalSpec()) for result in results]


def _row(result: SimulatedWay, scored: dict[Way, ScoredRows], spec: IntervalSpec) -> WayRow:
    rows, reference = scored[result.way], scored.get(REFERENCE)
    row = leaderboard_row(result.way, rows, spec)
    auc_lost = brier_lost = None
    if reference is not None and result.way != REFERENCE:
        auc, brier = (PromotionPolicy(level=spec.level, metric=metric) for metric in ("roc_auc", "brier"))
        auc_lost = compare(rows, reference, REFERENCE, auc).difference
        brier_lost = compare(rows, reference, REFERENCE, brier).difference
    return WayRow(
        way=result.way,
        fits=result.fits,
        updates=result.updates,
        cpu_seconds=result.cpu_seconds,
        rows=row.n_rows,
        months=row.n_months,
        auc_within_months=row.auc_within_months,
        brier=row.brier,
        log_growth=_log_growth(rows, spec),
        auc_lost=auc_lost,
        brier_lost=brier_lost,
    )


def _log_growth(rows: ScoredRows, spec: IntervalSpec) -> Estimate:
    allocation = allocation_of(rows)
    if not allocation.metrics.n_bets:
        return Estimate.without(NO_STAKES, spec.level)
    with np.errstate(divide="ignore"):  # ruin has no logarithm
        return mean_interval(np.log1p(allocation.monthly_return), spec.level)
