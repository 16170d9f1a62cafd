"""What must hold of a champion that goes on betting: effect sizes with a least number of rows, never p-values."""

from dataclasses import dataclass

from cleverbetter_dagster.evaluation.drift import LARGE_PSI
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.services.records import MonitoringRecord

FEWEST_NEW_ROWS = 100
"""From here on chance moves an index of ten bins by less than a third of `LARGE_PSI` beyond what is expected of it."""

FEWEST_PREDICTIONS, FEWEST_MONTHS = 500, 3
"""Closed predictions, and months they were decided in, from which the champion is judged on them."""

MOST_MOVED_IMPORTANCE = 0.5
"""Share of the champion's decisions that may rest on features that moved far."""

MOST_CALIBRATION_ERROR = 0.1

TOLERANCE = PromotionPolicy().tolerance
"""How much of its lead over the base rate the champion may have lost for sure."""


@dataclass(frozen=True)
class Finding:
    """Whether a check passed, and why in a sentence with its numbers. Too little to judge by passes and says so."""

    passed: bool
    text: str


def score_has_not_drifted(record: MonitoringRecord) -> Finding:
    """The champion's score, and most of what it decides by, is distributed as when it was trained."""
    if record.score_drift is None or record.moved_importance is None or record.drift_rows < FEWEST_NEW_ROWS:
        return Finding(
            True, f"{_nobody(record)}{record.drift_rows} new rows; {FEWEST_NEW_ROWS} are needed to judge drift."
        )
    score, moved = record.score_drift, record.moved_importance
    furthest = ", ".join(f"{one.column} {one.excess:.2f}" for one in record.feature_drift[:3])
    return Finding(
        score.excess < LARGE_PSI and moved <= MOST_MOVED_IMPORTANCE,
        f"Stability index of the score {score.excess:.2f} beyond chance (below {LARGE_PSI:g} is asked) on "
        f"{record.drift_rows} new rows; {moved:.0%} of the decisions rest on features beyond it (at most "
        f"{MOST_MOVED_IMPORTANCE:.0%}). "
        f"Furthest: {furthest}.",
    )


def is_calibrated(record: MonitoringRecord) -> Finding:
    """What the champion called likely happened about as often."""
    own = record.own
    if own is None or own.n_rows < FEWEST_PREDICTIONS or own.n_months < FEWEST_MONTHS or own.calibration_error is None:
        return Finding(True, _too_few(record))
    return Finding(
        own.calibration_error.point <= MOST_CALIBRATION_ERROR,
        f"Calibration error {own.calibration_error} on {own.n_rows} closed predictions of {own.n_months} months; at "
        f"most {MOST_CALIBRATION_ERROR:g} is asked.",
    )


def as_good_as_when_promoted(record: MonitoringRecord) -> Finding:
    """The champion leads the base rate by as much as when it was promoted, or may well do."""
    own = record.own
    if record.family is not None and record.promoted_lead is None:
        return Finding(True, "The champion was promoted without a verdict: there is nothing to compare with.")
    if own is None or own.n_rows < FEWEST_PREDICTIONS or own.n_months < FEWEST_MONTHS:
        return Finding(True, _too_few(record))
    if record.lead is None or record.promoted_lead is None:
        return Finding(True, "The champion's lead is not defined on its closed predictions: labels all alike.")
    return Finding(
        record.lead.low <= record.promoted_lead + TOLERANCE,
        f"Loss less the base rate's {record.lead} on {own.n_rows} closed predictions, {record.promoted_lead:.4f} when "
        f"promoted; the lower end must be at most {TOLERANCE:g} above that.",
    )


def _too_few(record: MonitoringRecord) -> str:
    rows, months = (record.own.n_rows, record.own.n_months) if record.own else (0, 0)
    return (
        f"{_nobody(record)}{rows} closed predictions of {months} months; {FEWEST_PREDICTIONS} of {FEWEST_MONTHS} are "
        "needed to judge by."
    )


def _nobody(record: MonitoringRecord) -> str:
    return "" if record.family else "No champion stands. "
