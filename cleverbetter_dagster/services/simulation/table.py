"""What a replay showed, a line a policy: cost against quality, with intervals that draw whole months."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.betting.segments import FloatArray
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec, Interval
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic, mean_statistic
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of, monthly_returns
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.services.evaluation.scored_table import scored_rows
from cleverbetter_dagster.services.simulation.retraining import Policy, Replayed

YARDSTICK: Policy = "monthly"
"""The policy the others are compared with, row by row."""


class PolicyRow(BaseModel):
    """One policy. An interval is None where it is not defined: a single month, or nothing staked.

    Attributes:
        log_growth: mean logarithm of the bankroll's growth in a month.
        auc_lost: the yardstick's AUC less this policy's on the same rows, with the interval of the difference; None
            for the yardstick itself, and where it was not replayed. `brier_lost` likewise, this one's less the other's.
    """

    model_config = ConfigDict(frozen=True)

    policy: Policy
    fits: int
    updates: int
    cpu_seconds: float
    rows: int
    months: int
    roc_auc: Interval | None
    brier: Interval | None
    log_growth: Interval | None
    auc_lost: Interval | None
    brier_lost: Interval | None


def policy_rows(replayed: Sequence[Replayed], spec: BootstrapSpec | None = None) -> list[PolicyRow]:
    """A line for each policy, in the order given; all share the same resamples."""
    scored = {one.policy: scored_rows(one.scored) for one in replayed}
    bootstrap = BlockBootstrap(next(iter(scored.values())).decision_time, spec)
    return [_row(one, scored, bootstrap) for one in replayed]


def _row(one: Replayed, scored: dict[Policy, ScoredRows], bootstrap: BlockBootstrap) -> PolicyRow:
    rows, yardstick = scored[one.policy], scored.get(YARDSTICK)
    auc = auc_statistic(bootstrap, rows.label, rows.probability)
    terms = brier_terms(rows.label, rows.probability)
    auc_lost = brier_lost = None
    if yardstick is not None and one.policy != YARDSTICK:
        other = auc_statistic(bootstrap, yardstick.label, yardstick.probability)
        auc_lost = bootstrap.interval(lambda weights: other(weights) - auc(weights))
        difference = terms - brier_terms(yardstick.label, yardstick.probability)
        brier_lost = bootstrap.interval(mean_statistic(bootstrap, difference))
    return PolicyRow(
        policy=one.policy,
        fits=one.fits,
        updates=one.updates,
        cpu_seconds=one.cpu_seconds,
        rows=len(rows),
        months=bootstrap.n_months,
        roc_auc=bootstrap.interval(auc),
        brier=bootstrap.interval(mean_statistic(bootstrap, terms)),
        log_growth=_log_growth(bootstrap, rows),
        auc_lost=auc_lost,
        brier_lost=brier_lost,
    )


def _log_growth(bootstrap: BlockBootstrap, rows: ScoredRows) -> Interval | None:
    allocation = allocation_of(rows)
    if not allocation.metrics.n_bets:
        return None
    monthly = monthly_returns(allocation.decision_time, allocation.period_return)

    def mean_log(sequences: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore"):  # ruin has no logarithm; such resamples are left out
            return np.log1p(sequences).mean(axis=1)

    return bootstrap.interval_of_sequence(mean_log, monthly)
