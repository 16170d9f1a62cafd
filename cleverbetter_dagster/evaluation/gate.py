"""The promotion gate: may a challenger become champion? A verdict with its reasons, from paired intervals."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.checks import CheckOutcome
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec, fewest_months
from cleverbetter_dagster.evaluation.intervals.month_statistics import (
    auc_within_months_statistic,
    have_pairs,
    mean_statistic,
)
from cleverbetter_dagster.evaluation.intervals.months import Dependence, Months, Statistic
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms, log_loss_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.staking_comparison import StakingComparison

GateMetric = Literal["brier", "log_loss", "roc_auc"]

METRIC_TITLES: dict[GateMetric, str] = {
    "brier": "Brier score",
    "log_loss": "log loss",
    "roc_auc": "1 - AUC within months",
}


class PromotionPolicy(IntervalSpec):
    """What a challenger has to show."""

    metric: GateMetric = Field(
        "brier",
        description="Loss to compare: brier (default), log_loss, or roc_auc, which is compared as 1 - AUC within "
        "months: over pairs of rows of one month.",
    )
    tolerance: float = Field(
        0.002,
        ge=0,
        le=1,
        description="How much worse than the champion the challenger may be at the upper end of the interval; 0 to 1, "
        "default 0.002.",
    )
    min_months: int = Field(
        6,
        ge=2,
        le=1200,
        description="Fewest months of test rows to judge on; 2 to 1200, default 6. Where the level needs more (6 at "
        "0.95, 8 at 0.99), that many.",
    )

    @property
    def fewest_months(self) -> int:
        """Fewest months of test rows to judge on, at this level."""
        return max(self.min_months, fewest_months(self.level))


class PairedComparison(BaseModel):
    """The losses of two models on the same rows. Lower is better.

    Attributes:
        difference: loss(challenger) - loss(other): below 0 if the challenger is better.
        dependence: of the monthly differences; None on fewer than five months, or if they do not vary.
    """

    model_config = ConfigDict(frozen=True)

    against: str
    metric: GateMetric
    challenger: float
    other: float
    difference: Estimate
    dependence: Dependence | None = None


class Verdict(BaseModel):
    """Promote or not, and why."""

    model_config = ConfigDict(frozen=True)

    promote: bool
    reasons: tuple[str, ...]
    """One sentence for each rule, with its numbers."""
    comparisons: tuple[PairedComparison, ...]
    n_rows: int
    n_months: int


def judge(
    challenger: ScoredRows,
    champion: ScoredRows | None,
    baselines: Mapping[str, ScoredRows],
    policy: PromotionPolicy | None = None,
    staking: Sequence[StakingComparison] = (),
) -> Verdict:
    """Judge a challenger against the champion and every baseline on the same test rows.

    It is promoted only if there are enough months of rows, the interval of its loss minus the champion's ends
    at or below `tolerance` (it is not worse), and the interval of its loss minus each baseline's is wholly below 0 (it
    is better). Without a champion the baselines decide; without a baseline nothing is promoted. A challenger that
    stakes by itself must also earn its place in every comparison of `staking`.

    Raises:
        InvalidInput: the models were not scored on the same rows.
    """
    policy = policy or PromotionPolicy()
    n_months = Months(challenger.decision_time).n_months
    outcomes = [_enough_months(n_months, policy)]
    comparisons: list[PairedComparison] = []
    if champion is not None:
        comparison = compare(challenger, champion, "champion", policy)
        comparisons.append(comparison)
        outcomes.append(_not_worse(comparison, policy.tolerance))
    if not baselines:
        outcomes.append(CheckOutcome(passed=False, message="There is no baseline to beat; give at least one."))
    for name, rows in baselines.items():
        comparison = compare(challenger, rows, name, policy)
        comparisons.append(comparison)
        outcomes.append(_better(comparison))
    for own_stakes in staking:
        outcomes.extend(own_stakes.outcomes())
    return Verdict(
        promote=all(outcome.passed for outcome in outcomes),
        reasons=tuple(outcome.message for outcome in outcomes),
        comparisons=tuple(comparisons),
        n_rows=len(challenger),
        n_months=n_months,
    )


def compare(
    challenger: ScoredRows, other: ScoredRows, against: str, policy: PromotionPolicy | None = None
) -> PairedComparison:
    """Losses of two models on the same rows and the interval of their difference.

    Raises:
        InvalidInput: the rows differ.
    """
    policy = policy or PromotionPolicy()
    if not challenger.same_rows_as(other):
        raise InvalidInput(
            f"The challenger was scored on {len(challenger)} rows and {against} on {len(other)} others: "
            "score both on the same rows, in the same order."
        )
    counted = _counted(challenger, policy.metric)
    months = Months(challenger.decision_time[counted], policy)
    ours, theirs = (
        _loss(months, rows.label[counted], rows.probability[counted], policy.metric) for rows in (challenger, other)
    )

    def difference(weights: FloatArray) -> FloatArray:
        return ours(weights) - theirs(weights)

    estimate = months.mean_interval(difference)
    return PairedComparison(
        against=against,
        metric=policy.metric,
        challenger=months.point(ours),
        other=months.point(theirs),
        difference=estimate,
        dependence=months.dependence(difference) if estimate.point is not None else None,
    )


def _counted(rows: ScoredRows, metric: GateMetric) -> NDArray[np.bool_]:
    """Which rows the loss is made of, shape (n,)."""
    return have_pairs(rows.decision_time, rows.label) if metric == "roc_auc" else np.ones(len(rows), dtype=bool)


def _loss(months: Months, label: FloatArray, probability: FloatArray, metric: GateMetric) -> Statistic:
    if metric == "brier":
        return mean_statistic(months, brier_terms(label, probability))
    if metric == "log_loss":
        return mean_statistic(months, log_loss_terms(label, probability))
    auc = auc_within_months_statistic(months, label, probability)
    return lambda weights: 1.0 - auc(weights)


def _enough_months(n_months: int, policy: PromotionPolicy) -> CheckOutcome:
    message = f"The test rows span {n_months} months; at least {policy.fewest_months} are needed."
    return CheckOutcome(passed=n_months >= policy.fewest_months, message=message)


def _not_worse(comparison: PairedComparison, tolerance: float) -> CheckOutcome:
    if comparison.difference.high is None:
        return _undefined(comparison)
    passed = comparison.difference.high <= tolerance
    result = "not worse than the champion" if passed else "not shown to be as good as the champion"
    message = f"{_losses(comparison)}: {result} (the upper end must be at most {tolerance:g}). {_months(comparison)}"
    return CheckOutcome(passed=passed, message=message.rstrip())


def _better(comparison: PairedComparison) -> CheckOutcome:
    if comparison.difference.high is None:
        return _undefined(comparison)
    passed = comparison.difference.high < 0
    result = f"beats {comparison.against}" if passed else f"not shown to beat {comparison.against}"
    message = f"{_losses(comparison)}: {result} (the upper end must be below 0). {_months(comparison)}"
    return CheckOutcome(passed=passed, message=message.rstrip())


def _losses(comparison: PairedComparison) -> str:
    return (
        f"{METRIC_TITLES[comparison.metric]} {comparison.challenger:.4f} against {comparison.other:.4f} of "
        f"{comparison.against}, difference {comparison.difference}"
    )


def _months(comparison: PairedComparison) -> str:
    """How far the months depend on each other, in a sentence."""
    if comparison.dependence is None:
        return ""
    return (
        f"Its months have a serial correlation of about {comparison.dependence.serial_correlation:.2f} and are worth "
        f"{comparison.dependence.independent_months:.1f} independent ones."
    )


def _undefined(comparison: PairedComparison) -> CheckOutcome:
    message = (
        f"{METRIC_TITLES[comparison.metric]} cannot be compared with {comparison.against}: "
        f"{comparison.difference.reason}."
    )
    return CheckOutcome(passed=False, message=message)
