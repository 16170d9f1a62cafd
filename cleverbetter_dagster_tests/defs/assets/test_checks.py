"""Asset checks: a run over several months fails for its failing month, and says which and what to do."""

import dagster as dg

from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome


def _small(value: float) -> CheckOutcome:
    return CheckOutcome(passed=value < 10, message=f"It is {value}.", facts={"value": value})


GUARD = Check[float]("it_is_small", "It is below 10.", "make it smaller.", _small, guards="training")
GATED = Check[float]("it_is_honest", "It is below 10.", "make it smaller.", _small, guards="promotion")
WARNING = Check[float]("it_is_modest", "It is below 10.", "make it smaller.", _small)


def test_only_guards_of_training_block_and_all_name_a_remedy() -> None:
    guard, gated, warning = check_specs([GUARD, GATED, WARNING], "asset")
    assert guard.description == "It is below 10. Otherwise: make it smaller."
    assert (guard.blocking, gated.blocking, warning.blocking) == (True, False, False)


def test_a_guard_of_promotion_fails_as_an_error() -> None:
    (result,) = check_results([GATED], {"2023-01": 12.0})
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_one_failing_month_fails_the_check_and_is_named() -> None:
    (result,) = check_results([GUARD], {"2023-01": 3.0, "2023-02": 12.0, "2023-03": 4.0})
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert result.description == "2023-02: It is 12.0. What to do: make it smaller."
    assert result.metadata["failed_months"].value == "2023-02"
    assert result.metadata["value"].value == 12.0


def test_numbers_beside_a_check_have_six_decimals() -> None:
    (result,) = check_results([WARNING], {"2023-01": 0.3634020618556701})
    assert result.metadata["value"].value == 0.363402


def test_a_check_passes_if_all_months_pass() -> None:
    (result,) = check_results([WARNING], {"2023-01": 3.0, "2023-02": 4.0})
    assert (result.passed, result.severity) == (True, dg.AssetCheckSeverity.WARN)
    assert result.description == "2023-02: It is 4.0."
