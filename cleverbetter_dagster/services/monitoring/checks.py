"""Checks of a champion in use: effect sizes on a least number of rows, never p-values."""

from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome
from cleverbetter_dagster.evaluation.drift import FEWEST_ROWS, LARGE_DRIFT
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
from cleverbetter_dagster.services.records import MonitoringRecord

FEWEST_PREDICTIONS, FEWEST_MONTHS = 500, PromotionPolicy().fewest_months
"""Fewest closed predictions, and months they were decided in, to judge the champion by: fewer give no interval."""

MOST_MOVED_IMPORTANCE = 0.5
"""Share of the champion's decisions that may rest on features that moved far."""

MOST_CALIBRATION_ERROR = 0.1

TOLERANCE = PromotionPolicy().tolerance
"""How much of its lead over the base rate the champion may lose, by the end of the interval in its favour."""


def _score_has_not_drifted(record: MonitoringRecord) -> CheckOutcome:
    if record.score_drift is None or record.moved_importance is None:
        return _not_judged(record, f"{record.drift_rows} new rows; {FEWEST_ROWS} are needed to judge drift.")
    score, moved = record.score_drift, record.moved_importance
    furthest = ", ".join(f"{one.column} {one.distance:.2f}" for one in record.feature_drift[:3])
    return CheckOutcome(
        passed=not score.is_large and moved <= MOST_MOVED_IMPORTANCE,
        message=f"The score moved by {score.distance:.2f} from its test rows to {record.drift_rows} new rows (at most "
        f"{LARGE_DRIFT} passes); {moved:.0%} of the decisions rest on features that moved further (at most "
        f"{MOST_MOVED_IMPORTANCE:.0%} passes). Furthest: {furthest}.",
        facts=_champion(record) | {"distance": score.distance, "moved_importance": moved, "bound": LARGE_DRIFT},
    )


def _calibrated(record: MonitoringRecord) -> CheckOutcome:
    own = record.own
    error = own.calibration_error.point if own is not None else None
    if own is None or error is None or not _is_enough(own):
        return _not_judged(record, _too_few(record))
    return CheckOutcome(
        passed=error <= MOST_CALIBRATION_ERROR,
        message=f"The calibration error is {error:.3f} on {own.n_rows} closed predictions of {own.n_months} months; at "
        f"most {MOST_CALIBRATION_ERROR:g} passes.",
        facts=_champion(record) | {"calibration_error": error, "bound": MOST_CALIBRATION_ERROR},
    )


def _as_good_as_when_promoted(record: MonitoringRecord) -> CheckOutcome:
    own = record.own
    if record.family is not None and record.promoted_lead is None:
        return _not_judged(
            record,
            "No verdict that this release can read was recorded at its promotion: there is nothing to compare with.",
        )
    if own is None or not _is_enough(own):
        return _not_judged(record, _too_few(record))
    if record.lead is None or record.promoted_lead is None:
        return _not_judged(record, "The champion has no closed prediction of its own.")
    lost = record.lead.minus(record.promoted_lead)
    if lost.low is None:
        return _not_judged(record, f"How much of its lead the champion lost is not known: {lost.reason}.")
    return CheckOutcome(
        passed=lost.low <= TOLERANCE,
        message=f"Its loss minus the base rate's is {record.lead} on {own.n_rows} closed predictions of {own.n_months} "
        f"months and was {record.promoted_lead} when it was promoted. It lost {lost}; the lower end may be at most "
        f"{TOLERANCE:g}.",
        facts=_champion(record) | {"lead": str(record.lead), "lead_when_promoted": str(record.promoted_lead)},
    )


def _is_enough(own: LeaderboardRow) -> bool:
    return own.n_rows >= FEWEST_PREDICTIONS and own.n_months >= FEWEST_MONTHS


def _too_few(record: MonitoringRecord) -> str:
    rows, months = (record.own.n_rows, record.own.n_months) if record.own else (0, 0)
    return (
        f"{rows} closed predictions of {months} months are too few to judge by; {FEWEST_PREDICTIONS} of "
        f"{FEWEST_MONTHS} are needed."
    )


def _not_judged(record: MonitoringRecord, reason: str) -> CheckOutcome:
    """Passes, since nothing is known to be wrong, and says first that nothing was judged, and why."""
    no_champion = "" if record.family else "There is no champion. "
    return CheckOutcome(passed=True, message=f"Not judged. {no_champion}{reason}", facts=_champion(record))


def _champion(record: MonitoringRecord) -> dict[str, float | int | str]:
    return {"champion": f"{record.family} v{record.version}" if record.family else "none"}


MONITORING_CHECKS = (
    Check[MonitoringRecord](
        "champion_score_has_not_drifted",
        "The champion's score on the month's new rows is distributed like that on its test rows, and so are the "
        "features that most of its decisions rest on.",
        "check for data quality and leakage upstream, then train again on newer rows (job retrain).",
        _score_has_not_drifted,
    ),
    Check[MonitoringRecord](
        "champion_is_calibrated",
        "The champion's probabilities agree with how often its strategies made a profit.",
        "recalibrate probabilities (train again) and review betting thresholds (Kelly fraction and caps of "
        "strategy_predictions).",
        _calibrated,
    ),
    Check[MonitoringRecord](
        "champion_as_good_as_when_promoted",
        "The champion's lead over the base rate on its closed predictions is not clearly smaller than when it was "
        "promoted.",
        "train again; if the new model is refused as well, add more features.",
        _as_good_as_when_promoted,
    ),
)
"""A failure asks for a new model."""
