"""The leaderboard: families and baselines side by side, every figure with its interval."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec, Interval
from cleverbetter_dagster.evaluation.intervals.month_statistics import (
    auc_statistic,
    calibration_statistic,
    growth_of,
    max_drawdown_of,
    mean_statistic,
    ratio_statistic,
    sharpe_ratio_of,
)
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult, allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms, log_loss_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows


class LeaderboardRow(BaseModel):
    """One model. A figure is `None` where it is undefined: no bet, one class, a single month."""

    model_config = ConfigDict(frozen=True)

    name: str
    n_rows: int
    n_months: int
    n_bets: int
    roc_auc: Interval | None
    brier: Interval | None
    log_loss: Interval | None
    calibration_error: Interval | None
    roi: Interval | None
    growth: Interval | None
    sharpe_ratio: Interval | None
    max_drawdown: Interval | None


METRICS = tuple(name for name, field in LeaderboardRow.model_fields.items() if field.annotation == Interval | None)


def rank_models(scored: Mapping[str, ScoredRows], spec: BootstrapSpec | None = None) -> list[LeaderboardRow]:
    """One row per model, lowest Brier score first.

    Models scored on the same rows get the same resamples. `roi` is profit over stake, `growth` that of the bankroll
    over the test part, `sharpe_ratio` that of its monthly returns, annualised.
    """
    rows = [leaderboard_row(name, rows, spec) for name, rows in scored.items()]
    return sorted(rows, key=lambda row: (row.brier is None, row.brier.point if row.brier else 0.0, row.name))


def leaderboard_row(name: str, rows: ScoredRows, spec: BootstrapSpec | None = None) -> LeaderboardRow:
    """Every figure of one model with its interval."""
    bootstrap = BlockBootstrap(rows.decision_time, spec)
    allocation = allocation_of(rows)
    label, probability = rows.label, rows.probability
    return LeaderboardRow(
        name=name,
        n_rows=len(rows),
        n_months=bootstrap.n_months,
        n_bets=allocation.metrics.n_bets,
        roc_auc=bootstrap.interval(auc_statistic(bootstrap, label, probability)),
        brier=bootstrap.interval(mean_statistic(bootstrap, brier_terms(label, probability))),
        log_loss=bootstrap.interval(mean_statistic(bootstrap, log_loss_terms(label, probability))),
        calibration_error=bootstrap.interval(calibration_statistic(bootstrap, label, probability)),
        roi=_roi(bootstrap, rows),
        **_bankroll_intervals(bootstrap, allocation),
    )


def with_first(rows: Sequence[LeaderboardRow], name: str) -> list[LeaderboardRow]:
    """The rows with one model moved to the top: the order in which charts draw models, so that colours agree."""
    return sorted(rows, key=lambda row: row.name != name)


def _roi(bootstrap: BlockBootstrap, rows: ScoredRows) -> Interval | None:
    """Profit over stake; None if all stakes fall into one month: every resample would give the same figure."""
    if len(np.unique(months_of(rows.decision_time[rows.stake > 0]))) < 2:
        return None
    return bootstrap.interval(ratio_statistic(bootstrap, rows.stake * rows.next_roi, rows.stake))


def _bankroll_intervals(bootstrap: BlockBootstrap, allocation: AllocationResult) -> dict[str, Interval | None]:
    if not allocation.metrics.n_bets:
        return {"growth": None, "sharpe_ratio": None, "max_drawdown": None}
    monthly = allocation.monthly_return
    return {
        "growth": bootstrap.interval_of_sequence(growth_of, monthly),
        "sharpe_ratio": bootstrap.interval_of_sequence(sharpe_ratio_of, monthly),
        "max_drawdown": bootstrap.interval_of_sequence(max_drawdown_of, monthly),
    }
