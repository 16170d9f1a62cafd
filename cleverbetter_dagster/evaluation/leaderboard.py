"""The leaderboard: families and baselines side by side, every figure with its interval."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.month_statistics import (
    auc_statistic,
    calibration_statistic,
    max_drawdown_of,
    mean_statistic,
    ratio_statistic,
    sharpe_ratio_of,
)
from cleverbetter_dagster.evaluation.intervals.months import Months, growth_interval
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult, allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms, log_loss_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows


class LeaderboardRow(BaseModel):
    """One model, every figure with its interval or the reason why there is none: too few months, no bet, one class."""

    model_config = ConfigDict(frozen=True)

    name: str
    n_rows: int
    n_months: int
    n_bets: int
    roc_auc: Estimate
    brier: Estimate
    log_loss: Estimate
    calibration_error: Estimate
    roi: Estimate
    growth: Estimate
    sharpe_ratio: Estimate
    max_drawdown: Estimate


NO_STAKES = "no stakes"

METRICS = tuple(name for name, field in LeaderboardRow.model_fields.items() if field.annotation is Estimate)


def rank_models(scored: Mapping[str, ScoredRows], spec: BootstrapSpec | None = None) -> list[LeaderboardRow]:
    """One row per model, lowest Brier score first.

    Models scored on the same rows get the same resamples. `roi` is profit over stake, `growth` that of the bankroll
    over the test part (its interval is that of as many months at the mean log growth), `sharpe_ratio` that of its
    monthly returns, annualised.
    """
    rows = [leaderboard_row(name, rows, spec) for name, rows in scored.items()]
    return sorted(rows, key=lambda row: (row.brier.point or 0.0, row.name))


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
        brier=bootstrap.mean_interval(mean_statistic(bootstrap, brier_terms(label, probability))),
        log_loss=bootstrap.mean_interval(mean_statistic(bootstrap, log_loss_terms(label, probability))),
        calibration_error=bootstrap.interval(calibration_statistic(bootstrap, label, probability)),
        roi=_roi(rows, spec),
        **_bankroll_intervals(bootstrap, allocation),
    )


def with_first(rows: Sequence[LeaderboardRow], name: str) -> list[LeaderboardRow]:
    """The rows with one model moved to the top: the order in which charts draw models, so that colours agree."""
    return sorted(rows, key=lambda row: row.name != name)


def _roi(rows: ScoredRows, spec: BootstrapSpec | None) -> Estimate:
    """Profit over stake, by the months with a stake."""
    staked, level = rows.stake > 0, (spec or BootstrapSpec()).level
    if not staked.any():
        return Estimate.without(NO_STAKES, level)
    months, stake = Months(rows.decision_time[staked], spec), rows.stake[staked]
    return months.mean_interval(ratio_statistic(months, stake * rows.next_roi[staked], stake))


def _bankroll_intervals(bootstrap: BlockBootstrap, allocation: AllocationResult) -> dict[str, Estimate]:
    if not allocation.metrics.n_bets:
        return dict.fromkeys(("growth", "sharpe_ratio", "max_drawdown"), Estimate.without(NO_STAKES, bootstrap.level))
    monthly = allocation.monthly_return
    return {
        "growth": growth_interval(monthly, bootstrap.level),
        "sharpe_ratio": bootstrap.interval_of_sequence(sharpe_ratio_of, monthly),
        "max_drawdown": bootstrap.interval_of_sequence(max_drawdown_of, monthly),
    }
