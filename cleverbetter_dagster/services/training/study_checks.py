"""The checks of a study's outcome."""

from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome
from cleverbetter_dagster.services.records import StudyRecord

WIDEST_GAP = 0.1
"""AUC on fitted rows above that on the folds, from which on the model counts as overfitted."""


def _gap_is_small(study: StudyRecord) -> CheckOutcome:
    return CheckOutcome(
        passed=study.gap <= WIDEST_GAP,
        message=f"The AUC on fitted rows is {study.gap:.3f} above that on the folds; at most {WIDEST_GAP} passes.",
        facts={"gap": study.gap, "bound": WIDEST_GAP},
    )


def _inside_space(study: StudyRecord) -> CheckOutcome:
    at_edge = ", ".join(f"{name} at {end:g}" for name, end in study.edges.items())
    message = f"At an end of its range: {at_edge}." if at_edge else "Every chosen value lies inside its range."
    return CheckOutcome(passed=not at_edge, message=message, facts={"at_edge": at_edge or "none"})


STUDY_CHECKS = (
    Check[StudyRecord](
        "train_validation_gap_is_small",
        f"The AUC on the rows a fold's model was fitted on is at most {WIDEST_GAP} above that on the fold.",
        "increase dropout rates, add L2 regularisation, or reduce model complexity (narrow `space`).",
        _gap_is_small,
    ),
    Check[StudyRecord](
        "best_trial_is_inside_its_space",
        "No chosen hyperparameter lies at an end of the range searched.",
        "widen that range (`space` in the run's configuration), or increase model complexity where the AUC is low. At "
        "the simple end, reduce it further.",
        _inside_space,
    ),
)
