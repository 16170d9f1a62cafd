"""Asset checks: a run over several months fails for its failing month, and says which and what to do."""

import dagster as dg

from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.evaluation.checks import CheckOutcome
from cleverbetter_dagster.services.checks import Check


def _small(value: float) -> CheckOutcome:
    return CheckOutcome(passed=value < 10, message=f"It is {value}.", facts={"value": value})


GUARD = Check[float]("it_is_small", "It is below 10.", "make it smaller.", _small, guards="training")
GATED = Check[float]("it_is_honest", "It is below 10.", "make it smaller.", _small, guards="promotion")
WARNING = Check[float]("it_is_modest", "It is below 10.", "make it smaller.", _small)


def test_the_description_holds_the_fact_and_the_remedy_and_guards_of_training_block() -> None:
    guard, gated, warning = check_specs([GUARD, GATED, WARNING], "asset")
    assert guard.description == "It is below 10. Otherwise: make it smaller."
    assert (guard.blocking, gated.blocking, warning.blocking) == (True, False, False)


def test_a_guard_of_promotion_fails_as_an_error_though_it_blocks_no_run() -> None:
    (found,) = check_results([GATED], {"2023-01": 12.0})
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_one_failing_month_fails_the_run_and_is_named_with_its_numbers() -> None:
    (found,) = check_results([GUARD], {"2023-01": 3.0, "2023-02": 12.0, "2023-03": 4.0})
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.description == "2023-02: It is 12.0. What to do: make it smaller."
    assert found.metadata["failed_months"].value == "2023-02"
    assert found.metadata["value"].value == 12.0


def test_numbers_beside_a_check_have_six_decimals() -> None:
    (found,) = check_results([WARNING], {"2023-01": 0.3634020618556701})
    assert found.metadata["value"].value == 0.363402


def test_all_months_passing_pass() -> None:
    (found,) = check_results([WARNING], {"2023-01": 3.0, "2023-02": 4.0})
    assert (found.passed, found.severity) == (True, dg.AssetCheckSeverity.WARN)
    assert found.description == "2023-02: It is 4.0."
