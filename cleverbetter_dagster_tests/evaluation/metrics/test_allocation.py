import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.betting.open_stakes import Windows
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of, simulate_allocation
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows


def months(n_months: int, per_month: int) -> Windows:
    """Monthly windows that begin when they are decided."""
    return monthly(decision_months(n_months, per_month))


def monthly(decided: pd.DatetimeIndex) -> Windows:
    times = decided.tz_localize(None)
    return Windows(times, times, times + pd.offsets.MonthEnd(1))


TIMES = months(2, 2)

allocations = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 0.2), st.floats(-1, 1)), min_size=1, max_size=40)


def test_two_months_worked_by_hand():
    result = simulate_allocation(TIMES, [0.5, 0.1, 0.2, 0.0], [0.2, -1.0, -0.5, 9.0])

    # January: 0.5 x 0.2 - 0.1 = 0; February: 0.2 x -0.5 = -0.1.
    assert result.period_return.tolist() == pytest.approx([0, -0.1])
    assert result.bankroll.tolist() == pytest.approx([1, 1, 0.9])
    assert result.final_bankroll == pytest.approx(0.9)
    assert result.growth == pytest.approx(-0.1)
    assert result.metrics.n_bets == 3
    assert result.metrics.total_stake == pytest.approx(0.8)
    assert result.metrics.total_return == pytest.approx(-0.1)
    assert result.metrics.roi == pytest.approx(-0.125)
    assert result.metrics.win_rate == pytest.approx(1 / 3)
    assert result.metrics.profit_factor == pytest.approx(0.1 / 0.2)
    assert result.metrics.max_drawdown == pytest.approx(0.1)
    # Monthly returns 0 and -0.1: mean -0.05, sample deviation 0.1 / sqrt(2), twelve months a year.
    assert result.metrics.sharpe_ratio == pytest.approx(-0.05 / (0.1 / 2**0.5) * 12**0.5)


def test_gains_are_reinvested():
    result = simulate_allocation(months(2, 1), [0.5, 0.5], [0.2, 0.2])

    assert result.final_bankroll == pytest.approx(1.1**2)


def test_ruin_ends_the_bankroll_for_good():
    result = simulate_allocation(months(3, 1), [0.1, 2.0, 0.5], [1.0, -1.0, 1.0])

    assert result.period_return.tolist() == pytest.approx([0.1, -1, 0])
    assert result.bankroll.tolist() == pytest.approx([1, 1.1, 0, 0])
    assert result.growth == -1
    assert result.metrics.max_drawdown == 1


def test_an_allocation_without_a_stake_keeps_the_bankroll():
    result = allocation_of(scored_rows([0.5, 0.5], [0, 1]))

    assert result.growth == 0
    assert (result.metrics.n_bets, result.metrics.roi, result.metrics.sharpe_ratio) == (0, None, None)


def test_decision_times_of_a_month_compound():
    decided = np.array(["2022-01-07", "2022-01-14", "2022-02-07"], dtype="datetime64[D]")
    result = simulate_allocation(Windows(decided, decided, decided + 7), [0.5, 0.5, 1.0], [0.2, 0.2, -1.0])

    assert result.monthly_return.tolist() == pytest.approx([0.21, -1])


def test_windows_of_three_months_rolled_monthly_worked_by_hand():
    decided = np.datetime64("2022-01") + np.arange(5)
    result = simulate_allocation(
        Windows(decided, decided, decided + 3), [0.4, 0.2, 0.0, 0.0, 0.5], [0.5, -0.5, 0, 0, 0.2]
    )

    # +20% of the first window is realised in April, -10% of the first bankroll in May, when half of 1.1 is staked.
    assert result.bankroll.tolist() == pytest.approx([1, 1, 1, 1.2, 1.1, 1.1 + 0.55 * 0.2])
    assert result.growth == pytest.approx(0.21)
    assert result.open_fraction.tolist() == pytest.approx([0.4, 0.6, 0.6, 0.2 / 1.2, 0.5])
    assert np.prod(1 + result.monthly_return) == pytest.approx(1.21)


def test_a_month_whose_rows_wait_returns_nothing():
    windows = Windows(["2022-01-30", "2022-02-02"], ["2022-02-03", "2022-02-03"], ["2022-03-01", "2022-03-01"])

    assert simulate_allocation(windows, [0.5, 0.5], [0.1, 0.1]).monthly_return.tolist() == pytest.approx([0, 0.1])


def test_unusable_rows_are_named():
    with pytest.raises(InvalidInput, match="2 windows, 1 stakes"):
        simulate_allocation(months(1, 2), [0.1], [0.1, 0.1])
    with pytest.raises(InvalidInput, match="at least one row"):
        simulate_allocation(Windows([], [], []), [], [])
    with pytest.raises(InvalidInput, match=r"A stake is -0\.1"):
        simulate_allocation(months(1, 1), [-0.1], [0.1])


@given(allocations)
def test_money_is_conserved_at_every_decision_time(rows):
    month, stake, roi = map(np.array, zip(*rows, strict=True))

    result = simulate_allocation(monthly(decision_months(6, 1)[month]), stake, roi)
    slow = 1.0
    for now in sorted(set(month)):
        here = month == now
        slow += slow * max(sum(s * r for s, r in zip(stake[here], roi[here], strict=True)), -1.0)

    assert result.final_bankroll == pytest.approx(slow, abs=1e-9)
    assert (result.bankroll >= 0).all()
    assert result.decision_time.is_monotonic_increasing
    assert len(result.bankroll) == len(result.decision_time) + 1


@given(allocations)
def test_the_order_of_the_rows_does_not_matter(rows):
    month, stake, roi = map(np.array, zip(*rows, strict=True))
    windows = monthly(decision_months(6, 1)[month])
    forward = simulate_allocation(windows, stake, roi)
    backward = simulate_allocation(windows.take(np.arange(len(month))[::-1]), stake[::-1], roi[::-1])

    np.testing.assert_allclose(forward.bankroll, backward.bankroll, atol=1e-12)
