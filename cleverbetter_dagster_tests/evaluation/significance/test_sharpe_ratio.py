"""Probabilistic and deflated Sharpe ratios against the examples in their papers, and against simulated luck."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.significance.sharpe_ratio import (
    SharpeEstimate,
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    probabilistic_sharpe_ratio,
    sharpe_estimate,
)

# Five years of days, annualised Sharpe ratio of 2.5 at 250 days a year, trials' annualised variance 1/2.
PAPER = SharpeEstimate(2.5 / 250**0.5, 1250, skewness=-3.0, kurtosis=10.0)
DAILY_VARIANCE = 0.5 / 250


def test_skewed_returns_are_less_sure_as_in_the_psr_paper() -> None:
    # Bailey and Lopez de Prado (2012), two years of months: 0.982 if normal, 0.913 with the moments it has.
    assert probabilistic_sharpe_ratio(SharpeEstimate(0.458, 24)) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe_ratio(SharpeEstimate(0.458, 24, -2.448, 10.164)) == pytest.approx(0.913, abs=5e-4)


def test_the_example_of_the_dsr_paper() -> None:
    # Bailey and Lopez de Prado (2014), "A numerical example": 100 trials give SR0 = 0.1132 a day and DSR = 0.9004.
    assert expected_maximum_sharpe(100, DAILY_VARIANCE) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe_ratio(PAPER, 100, DAILY_VARIANCE) == pytest.approx(0.9004, abs=5e-5)


@pytest.mark.parametrize(("trials", "estimate"), [(46, PAPER), (88, SharpeEstimate(PAPER.ratio, 1250))])
def test_the_trials_of_the_dsr_paper_leave_95_percent(trials: int, estimate: SharpeEstimate) -> None:
    # 46 trials with those moments; 88 had the returns been normal.
    assert deflated_sharpe_ratio(estimate, trials, DAILY_VARIANCE) == pytest.approx(0.9505, abs=5e-5)


def test_moments_worked_by_hand() -> None:
    # Returns 0, 0, 0, 4: mean 1, sum of squares 12, so deviation 2 (ddof 1) and sqrt(3) (ddof 0);
    # cubes -1 -1 -1 +27 = 24 over 4 x 3 sqrt(3); fourth powers 84 over 4 x 9.
    estimate = sharpe_estimate([0.0, 0.0, 0.0, 4.0])
    assert estimate is not None
    assert (estimate.ratio, estimate.periods) == (pytest.approx(0.5), 4)
    assert estimate.skewness == pytest.approx(2 / 3**0.5)
    assert estimate.kurtosis == pytest.approx(7 / 3)


def test_one_trial_deflates_nothing() -> None:
    assert deflated_sharpe_ratio(PAPER, 1) == probabilistic_sharpe_ratio(PAPER)


def test_the_luckiest_of_simulated_traders_matches_the_formula() -> None:
    returns = np.random.default_rng(0).normal(size=(400, 60, 50))  # repetitions, traders, periods
    best = (returns.mean(axis=2) / returns.std(axis=2, ddof=1)).max(axis=1)
    assert best.mean() == pytest.approx(expected_maximum_sharpe(60, 1 / 49), rel=0.03)


def test_a_trader_without_skill_rarely_passes() -> None:
    rng = np.random.default_rng(1)
    deflated = [deflated_sharpe_ratio(sharpe_estimate(rng.normal(size=120)), 20) for _ in range(400)]  # type: ignore[arg-type]
    assert np.mean(np.array(deflated) > 0.95) < 0.01
    sure = [probabilistic_sharpe_ratio(sharpe_estimate(rng.normal(size=120))) for _ in range(800)]  # type: ignore[arg-type]
    assert np.mean(np.array(sure) > 0.9) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("returns", [[], [0.1], [0.1, 0.2], [0.1, 0.1, 0.1]])
def test_few_or_equal_returns_have_no_estimate(returns: list[float]) -> None:
    assert sharpe_estimate(returns) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SharpeEstimate(0.1, 1), "1 periods"),
        (lambda: SharpeEstimate(0.1, 9, kurtosis=0.0), "not the excess"),
        (lambda: expected_maximum_sharpe(0, 1.0), "at least 1 trial"),
        (lambda: expected_maximum_sharpe(5, -1.0), "variance >= 0"),
    ],
)
def test_impossible_numbers_are_refused(make, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()


@given(st.floats(-1, 1), st.integers(3, 500), st.floats(1, 1e4), st.floats(1, 1e4))
def test_more_trials_never_make_a_ratio_surer(ratio: float, periods: int, fewer: float, more: float) -> None:
    estimate = SharpeEstimate(ratio, periods)
    few, many = sorted((fewer, more))
    deflated = deflated_sharpe_ratio(estimate, many)
    assert 0.0 <= deflated <= deflated_sharpe_ratio(estimate, few) + 1e-12
    assert deflated <= probabilistic_sharpe_ratio(estimate) + 1e-12


@pytest.mark.parametrize("size", [1.0, 1e-160])
def test_an_estimate_does_not_depend_on_the_size_of_returns(size: float) -> None:
    estimate = sharpe_estimate([size, 0.0, size])
    assert estimate is not None
    assert estimate.skewness == pytest.approx(-1 / np.sqrt(2))
    assert estimate.kurtosis == pytest.approx(1.5)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30))
def test_every_estimate_has_a_probability(returns: list[float]) -> None:
    estimate = sharpe_estimate(returns)
    if estimate is not None:
        assert 0.0 <= probabilistic_sharpe_ratio(estimate) <= 1.0
