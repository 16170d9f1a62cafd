"""The study's checks pass where all is well and fail on a planted fault, with the guide's advice."""

import dagster as dg
import pytest

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.families import _gap_is_small, _inside_space
from cleverbetter_dagster.services.records import StudyRecord

GOOD = StudyRecord(
    family="f", as_of="2020-01", params={"depth": 3}, mean_auc=0.7, default_auc=0.7, trials=9, seed=0, train_auc=0.72
)


def studies(**fault: object) -> dict[str, StudyRecord]:
    return {"2020-01": GOOD, "2020-02": GOOD.model_copy(update={"as_of": "2020-02", **fault})}


@pytest.mark.parametrize("check", [_gap_is_small, _inside_space])
def test_a_study_without_fault_passes(check) -> None:
    assert check(studies()).passed


def test_a_wide_gap_between_fitted_rows_and_folds_warns_with_the_guides_advice() -> None:
    found = _gap_is_small(studies(train_auc=0.85))
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2020-02" in str(found.description)
    assert all(advice in str(found.description) for advice in ("dropout", "L2", "reduce model complexity"))


def test_a_best_trial_at_the_end_of_its_space_warns_and_names_the_end() -> None:
    found = _inside_space(studies(edges={"max_depth": 8.0}))
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2020-02: max_depth at 8" in str(found.description)
    assert "increase model complexity" in str(found.description)


def test_every_study_has_both_checks_and_neither_blocks() -> None:
    graph = defs.resolve_asset_graph()
    checks = [check for check in graph.asset_check_keys if check.asset_key.to_user_string().endswith("_study")]
    assert {check.name for check in checks} == {"train_validation_gap_is_small", "best_trial_is_inside_its_space"}
    assert not any(graph.get_check_spec(check).blocking for check in checks)
