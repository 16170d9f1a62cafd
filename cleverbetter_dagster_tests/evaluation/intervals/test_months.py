import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic, mean_statistic, ratio_statistic
from cleverbetter_dagster.evaluation.intervals.months import (
    Months,
    growth_interval,
    mean_interval,
    serial_dependence,
)
from cleverbetter_dagster_tests.evaluation.dependent_months import SHAPES, dependent_months
from cleverbetter_dagster_tests.evaluation.scored import decision_months

QUICK, EXACT = 300, 60_000


def covered(values: np.ndarray, truth: float = 0.0) -> float:
    intervals = [mean_interval(row, 0.95) for row in values]
    return float(np.mean([one.low <= truth <= one.high for one in intervals]))


def test_three_cosines_of_six_months_worked_by_hand():
    interval = mean_interval([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.95)
    # Cosines at the first month: of pi / 12, pi / 6 and pi / 4, each times sqrt(2 / 6). Deviations from the mean:
    # 5/6 once, -1/6 five times; squares 30/36, neighbours -5/36 + 4/36.
    variance = np.mean([np.cos(np.pi / 12) ** 2 / 3, np.cos(np.pi / 6) ** 2 / 3, np.cos(np.pi / 4) ** 2 / 3])
    reach = special.stdtrit(3, 0.975) * np.sqrt(variance / 6) * (1 + 3.6 / 4) * np.exp(-1 / 30)

    assert interval.point == pytest.approx(1 / 6)
    assert (interval.low, interval.high) == (pytest.approx(1 / 6 - reach), pytest.approx(1 / 6 + reach))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_months", [6, 9, 12, 24])
def test_means_of_dependent_months_are_covered(shape, n_months):
    values = dependent_months(shape, n_months, QUICK, np.random.default_rng(7))

    assert 0.89 <= covered(values) <= 0.99  # 0.92..0.97, and twice the error of 300 repetitions


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_months", [6, 9, 12, 24])
def test_coverage_is_92_to_97_percent_in_every_cell(shape, n_months):
    values = dependent_months(shape, n_months, EXACT, np.random.default_rng(8))

    assert 0.92 <= round(covered(values), 2) <= 0.97


def test_months_of_unequal_size_are_covered():
    rng, hits = np.random.default_rng(2), 0
    months = decision_months(12, 1)[np.repeat(np.arange(12), np.geomspace(20, 200, 12).astype(int))]
    for shocks in dependent_months("AR(1) 0.3", 12, QUICK, rng):
        months_ = Months(months)
        interval = months_.mean_interval(mean_statistic(months_, shocks[months_.month] + rng.normal(size=len(months))))
        hits += interval.low <= 0.0 <= interval.high

    assert 0.88 <= hits / QUICK <= 0.99


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=24), st.floats(-10, 10), st.floats(0.1, 10))
@settings(deadline=None)
def test_an_interval_moves_and_grows_with_its_values(values, shift, scale):
    x = np.array(values)
    plain, other = mean_interval(x, 0.95), mean_interval(scale * x + shift, 0.95)

    assert (other.low, other.high) == (
        pytest.approx(scale * plain.low + shift, abs=1e-9),
        pytest.approx(scale * plain.high + shift, abs=1e-9),
    )


def test_a_months_influence_is_exact_for_means_and_ratios():
    months, rng = Months(decision_months(7, 3)), np.random.default_rng(0)
    top, bottom = rng.normal(size=21), rng.uniform(1, 2, 21)
    ratio = top.sum() / bottom.sum()
    expected = months.by_month(top - ratio * bottom) / bottom.sum() * 7

    assert months.influence(ratio_statistic(months, top, bottom)) == pytest.approx(expected, abs=1e-8)
    assert months.influence(ratio_statistic(months, top, bottom)).sum() == pytest.approx(0, abs=1e-7)


def test_an_auc_has_an_interval_by_its_influences():
    months, rng = Months(decision_months(12, 50)), np.random.default_rng(0)
    label = rng.random(600) < 0.4
    interval = months.mean_interval(auc_statistic(months, label, rng.normal(label, 1.0)))

    assert interval.low < 0.76 < interval.high
    assert interval.high - interval.low < 0.2


def test_equal_models_differ_by_exactly_nothing():
    months = Months(decision_months(8, 3))
    mean = mean_statistic(months, np.random.default_rng(0).normal(size=24))

    assert months.mean_interval(lambda weights: mean(weights) - mean(weights)).ends == (0.0, 0.0)
    assert months.dependence(lambda weights: mean(weights) - mean(weights)) is None


def test_growth_is_that_of_as_many_months_at_the_mean():
    returns = np.array([0.1, -0.05, 0.02, 0.03, -0.01, 0.04])
    growth, mean = growth_interval(returns, 0.95), mean_interval(np.log1p(returns), 0.95)

    assert growth.point == pytest.approx(np.prod(1 + returns) - 1)
    assert np.log1p(growth.ends) / 6 == pytest.approx(mean.ends)


def test_a_lost_bankroll_has_no_interval():
    lost = growth_interval([0.1, -1.0, 0.1, 0.1, 0.1, 0.1], 0.95)

    assert (lost.point, lost.ends, lost.reason) == (-1.0, None, "the bankroll was lost")


def test_variance_between_seeds_widens_the_interval():
    values = np.random.default_rng(0).normal(size=12)
    wide, narrow = mean_interval(values, 0.95, variance=4.0), mean_interval(values, 0.95)

    assert wide.high - wide.point > 2.0 * special.stdtrit(6, 0.975)
    assert wide.high > narrow.high


@pytest.mark.parametrize("truth", [0.0, 0.5])
def test_the_serial_correlation_is_found_without_bias(truth):
    values = dependent_months(f"AR(1) {truth}", 12, 2_000, np.random.default_rng(3))
    found = [serial_dependence(row).serial_correlation for row in values]

    assert np.mean(found) == pytest.approx(truth, abs=0.06)  # the plain estimate: -0.08 and 0.25


def test_independent_months_count_in_full_and_equal_ones_not():
    alternating, rising = serial_dependence([1, -1, 1, -1, 1, -1]), serial_dependence(np.arange(12.0))

    assert alternating.independent_months == 6
    assert rising.independent_months < 3
    assert serial_dependence(np.ones(12)) is None
    assert serial_dependence([0.0, 1.0, 0.0, 1.0]) is None
