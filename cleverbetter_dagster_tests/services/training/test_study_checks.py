"""The checks of a study pass on a good study and fail on planted faults, with the guide's advice."""

import pytest

from cleverbetter_dagster.services.records import StudyRecord
from cleverbetter_dagster.services.training.study_checks import STUDY_CHECKS

GOOD = StudyRecord(
    family="f", as_of="2020-01", params={"depth": 3}, mean_auc=0.7, default_auc=0.7, trials=9, seed=0, train_auc=0.72
)
FAULTS = {
    "train_validation_gap_is_small": ({"train_auc": 0.85}, "0.150 above", ("dropout", "L2", "reduce model complexity")),
    "best_trial_is_inside_its_space": ({"edges": {"max_depth": 8.0}}, "max_depth at 8", ("increase model complexity",)),
}


def test_a_study_without_fault_passes() -> None:
    assert all(check.run(GOOD).passed for check in STUDY_CHECKS)


@pytest.mark.parametrize("name", [check.name for check in STUDY_CHECKS])
def test_a_fault_fails_its_check_with_the_guides_advice(name: str) -> None:
    fault, said, advice = FAULTS[name]
    (failed,) = [check for check in STUDY_CHECKS if not check.run(GOOD.model_copy(update=fault)).passed]
    assert (failed.name, failed.guards) == (name, None)
    assert said in failed.run(GOOD.model_copy(update=fault)).message
    assert all(words in failed.remedy for words in advice)
