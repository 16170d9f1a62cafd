"""The rules of a study hold where all is well and fail on a planted fault, with the guide's advice."""

import pytest

from cleverbetter_dagster.services.records import StudyRecord
from cleverbetter_dagster.services.training.study_checks import STUDY_RULES

GOOD = StudyRecord(
    family="f", as_of="2020-01", params={"depth": 3}, mean_auc=0.7, default_auc=0.7, trials=9, seed=0, train_auc=0.72
)
FAULTS = {
    "train_validation_gap_is_small": ({"train_auc": 0.85}, "0.150 above", ("dropout", "L2", "reduce model complexity")),
    "best_trial_is_inside_its_space": ({"edges": {"max_depth": 8.0}}, "max_depth at 8", ("increase model complexity",)),
}


def test_a_study_without_fault_passes() -> None:
    assert all(rule.find(GOOD).passed for rule in STUDY_RULES)


@pytest.mark.parametrize("name", [rule.name for rule in STUDY_RULES])
def test_a_fault_fails_its_rule_and_no_other_and_warns_with_the_guides_advice(name: str) -> None:
    fault, said, advice = FAULTS[name]
    (failed,) = [rule for rule in STUDY_RULES if not rule.find(GOOD.model_copy(update=fault)).passed]
    assert (failed.name, failed.guards) == (name, None)
    assert said in failed.find(GOOD.model_copy(update=fault)).message
    assert all(words in failed.remedy for words in advice)
