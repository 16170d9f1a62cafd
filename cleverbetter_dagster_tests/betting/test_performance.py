"""Metrics of bets: worked by hand, and properties on random bets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.betting.performance import (
    bankroll_curve,
    betting_metrics,
    max_drawdown,
    profit_factor,
    sharpe_ratio,
    win_rate,
)
from cleverbetter_dagster.errors import InvalidInput

money = st.floats(-1e4, 1e4, allow_nan=False).map(lambda value: round(value, 2))
profits = st.lists(money, min_size=1, max_size=50)


def test_four_bets_worked_by_hand():
    metrics = betting_metrics([10, 20, 10, 10], [35, -20, 0, -10], initial_bankroll=100)

    assert metrics.n_bets == 4
    assert metrics.total_stake == 50
    assert metrics.total_return == 5
    assert metrics.roi == 0.1
    assert metrics.win_rate == 0.25
    assert metrics.profit_factor == pytest.approx(35 / 30)
    # The bankroll goes 100, 135, 115, 115, 105: the peak of 135 loses 30.
    assert metrics.max_drawdown == pytest.approx(30 / 135)
    # Returns per stake are 3.5, -1, 0, -1: mean 3/8, sum of squares 14.25, squared deviations 14.25 - 4 x 9/64.
    assert metrics.sharpe_ratio == pytest.approx(0.375 / math.sqrt((14.25 - 0.5625) / 3))


def test_sharpe_ratio_divides_by_the_sample_deviation_and_annualises():
    # Mean 0.02, squared deviations 0.0001 + 0.0001 over n - 1 = 1.
    assert sharpe_ratio([0.01, 0.03], 12) == pytest.approx(0.02 / math.sqrt(0.0002) * math.sqrt(12))


@pytest.mark.parametrize("returns", [[], [0.1], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_sharpe_ratio_is_undefined_without_variation(returns):
    assert sharpe_ratio(returns, 12) is None


def test_a_tiny_loss_counts_as_no_loss():
    assert profit_factor([5, -1e-300]) is None


def test_profit_factor_is_none_without_a_losing_bet():
    assert profit_factor([5, 0, 3]) is None
    assert profit_factor([]) is None
    assert profit_factor([-5, -1]) == 0


def test_a_returned_stake_is_a_bet_but_no_win():
    assert win_rate([0, 1]) == 0.5
    assert win_rate([]) is None


def test_bets_with_a_stake_of_zero_were_not_placed():
    metrics = betting_metrics([0, 10], [0, 5])

    assert metrics.n_bets == 1
    assert metrics.win_rate == 1


def test_no_bet_at_all_is_not_an_error():
    metrics = betting_metrics([], [])

    assert (metrics.n_bets, metrics.roi, metrics.win_rate, metrics.max_drawdown) == (0, None, None, 0)


def test_losing_every_stake_is_a_drawdown_of_one():
    assert betting_metrics([10, 30], [-10, -30]).max_drawdown == 1


def test_drawdown_is_measured_from_the_highest_peak_before_it():
    assert max_drawdown([100, 150, 120, 160, 80, 170]) == 0.5
    assert max_drawdown([100, 110, 120]) == 0
    assert max_drawdown([100, 0, 0]) == 1


def test_a_ruined_bankroll_stays_at_zero():
    assert bankroll_curve([0.5, -1.2, 3.0], 10).tolist() == [10, 15, 0, 0]


@pytest.mark.parametrize(
    ("stakes", "returns", "named"),
    [
        ([1, 2], [1], "2 stakes but 1 profits"),
        ([-1], [0], "A stake is -1"),
        ([0], [3], "stake of 0 has a profit"),
        ([1], [float("nan")], r"profits\[0\] is nan"),
        ([float("inf")], [1], r"stakes\[0\] is inf"),
        ([[1]], [1], "one-dimensional"),
        (["a"], [1], "not numbers"),
    ],
)
def test_unusable_bets_are_named(stakes, returns, named):
    with pytest.raises(InvalidInput, match=named):
        betting_metrics(stakes, returns)


def test_a_bankroll_must_be_positive():
    with pytest.raises(InvalidInput, match="must be > 0"):
        betting_metrics([1], [1], initial_bankroll=0)
    with pytest.raises(InvalidInput, match="must start above 0"):
        max_drawdown([0, 1])


@given(profits)
def test_money_is_conserved(values):
    stakes = np.abs(values) + 1

    metrics = betting_metrics(stakes, values)

    assert metrics.total_return == pytest.approx(math.fsum(values), abs=1e-6)
    assert metrics.roi * metrics.total_stake == pytest.approx(metrics.total_return, abs=1e-6)


@given(profits, st.floats(0.01, 100))
def test_ratios_do_not_depend_on_the_currency(values, rate):
    stakes = np.abs(values) + 1
    metrics = betting_metrics(stakes, values)
    converted = betting_metrics(stakes * rate, np.array(values) * rate)

    assert converted.roi == pytest.approx(metrics.roi, abs=1e-9)
    assert converted.max_drawdown == pytest.approx(metrics.max_drawdown, abs=1e-9)
    assert converted.win_rate == metrics.win_rate


@given(st.lists(st.floats(-0.99, 1), min_size=1, max_size=40))
def test_drawdown_agrees_with_looking_at_every_pair(returns):
    curve = bankroll_curve(returns)
    slow = max(1 - later / earlier for i, earlier in enumerate(curve) for later in curve[i:])

    assert max_drawdown(curve) == pytest.approx(slow, abs=1e-12)
