"""The leaderboard: families and baselines side by side, every figure with an interval or why it has none."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec
from cleverbetter_dagster.evaluation.intervals.figures import (
    auc_of_all_rows,
    auc_within_months,
    calibration_estimate,
    drawdown_estimate,
    sharpe_interval,
)
from cleverbetter_dagster.evaluation.intervals.month_statistics import mean_statistic, ratio_statistic
from cleverbetter_dagster.evaluation.intervals.months import Months, growth_interval
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult, allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms, log_loss_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows


class LeaderboardRow(BaseModel):
    """One model, every figure with its interval or the reason why there is none: too few months, no bet, one class.

    Attributes:
        auc_within_months: share of the pairs of a profitable window and another of the same month in the right order.
        roc_auc: the same of all pairs, also of different months.
        calibration_error: by months, see `calibration_error`.
        roi: profit over stake.
        growth: of the bankroll over the rows; its interval is that of as many months at the mean log growth.
        sharpe_ratio: of the bankroll's monthly returns, annualised.
        max_drawdown: deepest fall of the bankroll from a peak, 0..1.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    n_rows: int
    n_months: int
    n_bets: int
    auc_within_months: Estimate
    roc_auc: Estimate
    brier: Estimate
    log_loss: Estimate
    calibration_error: Estimate
    roi: Estimate
    growth: Estimate
    sharpe_ratio: Estimate
    max_drawdown: Estimate


METRICS = tuple(name for name, field in LeaderboardRow.model_fields.items() if field.annotation is Estimate)

NO_STAKES = "no stakes"


def rank_models(scored: Mapping[str, ScoredRows], spec: IntervalSpec | None = None) -> list[LeaderboardRow]:
    """One row per model, lowest Brier score first."""
    rows = [leaderboard_row(name, rows, spec) for name, rows in scored.items()]
    return sorted(rows, key=lambda row: (row.brier.point or 0.0, row.name))


def leaderboard_row(name: str, rows: ScoredRows, spec: IntervalSpec | None = None) -> LeaderboardRow:
    """Every figure of one model."""
    months, allocation = Months(rows.decision_time, spec), allocation_of(rows)
    label, probability = rows.label, rows.probability
    return LeaderboardRow(
        name=name,
        n_rows=len(rows),
        n_months=months.n_months,
        n_bets=allocation.metrics.n_bets,
        auc_within_months=auc_within_months(rows.decision_time, label, probability, spec),
        roc_auc=auc_of_all_rows(label, probability, months.level),
        brier=months.mean_interval(mean_statistic(months, brier_terms(label, probability))),
        log_loss=months.mean_interval(mean_statistic(months, log_loss_terms(label, probability))),
        calibration_error=calibration_estimate(rows.decision_time, label, probability, months.level),
        roi=_roi(rows, spec),
        **_bankroll(months, allocation),
    )


def with_first(rows: Sequence[LeaderboardRow], name: str) -> list[LeaderboardRow]:
    """The rows with one model moved to the top: the order in which charts draw models, so that colours agree."""
    return sorted(rows, key=lambda row: row.name != name)


def _roi(rows: ScoredRows, spec: IntervalSpec | None) -> Estimate:
    """Profit over stake, by the months with a stake."""
    staked, level = rows.stake > 0, (spec or IntervalSpec()).level
    if not staked.any():
        return Estimate.without(NO_STAKES, level)
    months, stake = Months(rows.decision_time[staked], spec), rows.stake[staked]
    return months.mean_interval(ratio_statistic(months, stake * rows.next_roi[staked], stake))


def _bankroll(months: Months, allocation: AllocationResult) -> dict[str, Estimate]:
    if not allocation.metrics.n_bets:
        return dict.fromkeys(("growth", "sharpe_ratio", "max_drawdown"), Estimate.without(NO_STAKES, months.level))
    monthly = allocation.monthly_return
    return {
        "growth": growth_interval(monthly, months.level),
        "sharpe_ratio": sharpe_interval(months, monthly),
        "max_drawdown": drawdown_estimate(allocation.bankroll, months.level),
    }
