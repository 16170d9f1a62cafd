import pytest

from cleverbetter_dagster_tests.benchmarks.bench_coverage import GATE_MONTHS, check_cell, gate_cell


def test_three_months_fail_no_champion_any_more() -> None:
    cell = check_cell("AR(1) 0.3", 6, 3, 200)

    assert cell.before > 0.1
    assert cell.now == 0.0


def test_a_champion_that_did_not_change_passes_the_check() -> None:
    assert check_cell("AR(1) 0.3", 10, 6, 300).now <= 0.035


@pytest.mark.slow
@pytest.mark.parametrize("n_months", GATE_MONTHS)
def test_the_gate_promotes_no_model_without_skill(n_months: int) -> None:
    cell = gate_cell("no skill", n_months, 400)

    assert cell.now <= 0.035 < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("n_months", GATE_MONTHS)
def test_an_equal_challenger_seldom_counts_as_better(n_months: int) -> None:
    assert gate_cell("equal to champion", n_months, 400).now <= 0.05
