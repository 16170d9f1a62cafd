"""Checks of an evaluated model, of the champion, and of its predictions."""

from cleverbetter_dagster.dataset.as_of import AsOf, months_of
from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome
from cleverbetter_dagster.evaluation.gate import compare
from cleverbetter_dagster.evaluation.leaks import HIGHEST_MODEL_AUC, believable_auc
from cleverbetter_dagster.evaluation.metrics.calibration_error import calibration_error
from cleverbetter_dagster.evaluation.metrics.classification import classification_metrics
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.services.evaluation.evaluate import Evaluation
from cleverbetter_dagster.services.records import ChampionRecord, PredictionsRecord

LARGEST_CALIBRATION_ERROR = 0.05
STALE_MONTHS = 6
FRESH_DAYS = 45


def _believable(rows: ScoredRows) -> CheckOutcome:
    return believable_auc(classification_metrics(rows.label, rows.probability).roc_auc)


def _calibrated(evaluation: Evaluation) -> CheckOutcome:
    rows = evaluation.scored[evaluation.model.family]
    error = calibration_error(rows.label, rows.probability, months_of(rows.decision_time))
    if error is None:
        return CheckOutcome(passed=False, message="The test rows span a single month: too few to judge calibration by.")
    gap = float(rows.probability.mean() - rows.label.mean())
    message = (
        f"The calibration error on {len(rows)} test rows is {error:.3f}; at most {LARGEST_CALIBRATION_ERROR} passes. "
        f"On average the probabilities are {abs(gap):.3f} too {'high' if gap > 0 else 'low'}."
    )
    facts = {"calibration_error": error, "bound": LARGEST_CALIBRATION_ERROR, "mean_probability_minus_frequency": gap}
    return CheckOutcome(passed=error <= LARGEST_CALIBRATION_ERROR, message=message, facts=facts)


def _beats_baselines(evaluation: Evaluation) -> CheckOutcome:
    scored, family = evaluation.scored, evaluation.model.family
    leads = {name: compare(scored[family], rows, name).difference for name, rows in scored.items() if name != family}
    unbeaten = [name for name, lead in leads.items() if lead.high is None or lead.high >= 0]
    result = f"is not shown to beat {', '.join(unbeaten)}" if unbeaten else f"beats all {len(leads)} baselines"
    facts = {f"Brier score minus that of {name}": str(lead) for name, lead in leads.items()}
    message = f"By the paired 95% intervals of its Brier score, {family} {result}."
    return CheckOutcome(passed=not unbeaten, message=message, facts=facts)


def _champion_is_young(record: ChampionRecord) -> CheckOutcome:
    if record.champion_as_of is None:
        return CheckOutcome(passed=False, message="There is no champion.")
    now, then = AsOf.parse(record.as_of), AsOf.parse(record.champion_as_of)
    age = now - then
    return CheckOutcome(
        passed=age <= STALE_MONTHS,
        message=f"The champion {record.champion_family} v{record.champion_version} is as of {then}, {age} months "
        f"before; at most {STALE_MONTHS} passes.",
        facts={"age_months": age, "bound": STALE_MONTHS},
    )


def _predictions_are_fresh(record: PredictionsRecord) -> CheckOutcome:
    if record.newest_decision is None:
        why = "there is no champion" if record.family is None else "no strategy has a recent row"
        return CheckOutcome(passed=False, message=f"Nothing was predicted: {why}.", facts={"strategies": 0})
    age = (AsOf.parse(record.as_of).end - record.newest_decision).total_seconds() / 86400
    return CheckOutcome(
        passed=age <= FRESH_DAYS,
        message=f"The newest row behind {record.strategies} predictions was decided {age:.0f} days before the "
        f"month's end; at most {FRESH_DAYS} passes.",
        facts={"strategies": record.strategies, "age_days": age, "bound": FRESH_DAYS},
    )


MODEL_CHECKS = (
    Check[ScoredRows](
        "model_is_not_too_good_to_be_true",
        f"The AUC on the test rows is at most {HIGHEST_MODEL_AUC}; a higher value means a data leak.",
        "check for data leakage: look at the features that matter most, and at how upstream computes them.",
        _believable,
        guards="promotion",
    ),
)
"""Of a model's test rows."""

EVALUATION_CHECKS = (
    Check[Evaluation](
        "is_calibrated",
        f"The calibration error on the test rows is at most {LARGEST_CALIBRATION_ERROR}.",
        "recalibrate the probabilities (train again, on a longer or more recent validation part), review betting "
        "thresholds, and stake less until then.",
        _calibrated,
    ),
    Check[Evaluation](
        "beats_every_baseline",
        "The paired 95% interval of the Brier score minus each baseline's is below 0.",
        "increase model complexity, add more features, or search longer (at least 100 trials); until then the "
        "baseline is better, and the gate refuses the model.",
        _beats_baselines,
    ),
    Check[Evaluation](
        "score_has_not_drifted",
        "Scores of the newest rows are distributed like those of the training rows, up to a medium effect.",
        "look at the features that drifted (checks of temporal_split), and train on newer rows.",
        lambda evaluation: evaluation.score_drift,
    ),
)
"""Of an evaluation."""

CHAMPION_CHECKS = (
    Check[ChampionRecord](
        "champion_is_not_stale",
        f"There is a champion, and its as_of is at most {STALE_MONTHS} months before the month.",
        "read in the ledger why challengers were refused; train with more trials, more features or newer rows.",
        _champion_is_young,
    ),
)

PREDICTION_CHECKS = (
    Check[PredictionsRecord](
        "predictions_are_fresh",
        f"There are predictions, and their newest row was decided at most {FRESH_DAYS} days before the month's end.",
        "load the newest rows (job load_rows), check that upstream still writes, and promote a champion if there is "
        "none.",
        _predictions_are_fresh,
    ),
)
