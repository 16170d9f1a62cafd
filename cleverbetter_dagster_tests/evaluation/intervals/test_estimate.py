import numpy as np
import pytest

from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, fewest_months
from cleverbetter_dagster.evaluation.intervals.months import mean_interval
from cleverbetter_dagster_tests.evaluation.dependent_months import dependent_months

BETWEEN = Estimate(point=0.5, low=0.4, high=0.8, level=0.95)


@pytest.mark.parametrize("level", [0.6, 0.8, 0.9, 0.95, 0.99])
def test_one_month_fewer_cannot_reach_the_level(level):
    fewest = fewest_months(level)

    assert 1 - 2.0 ** (1 - fewest) >= level > 1 - 2.0 ** (2 - fewest)


def test_an_estimate_says_its_interval_or_the_reason():
    assert str(BETWEEN) == "0.5000 [0.4000, 0.8000]"
    assert str(Estimate.without("3 months; 95% needs 6", 0.95, 0.5)) == "0.5000 (no interval: 3 months; 95% needs 6)"
    assert str(Estimate.without("no stakes", 0.95)) == "none (no interval: no stakes)"
    assert Estimate.without("one class", 0.95, float("nan")).point is None


def test_the_other_sign_swaps_the_ends():
    assert Estimate(point=-0.5, low=-0.8, high=-0.4, level=0.95) == -BETWEEN
    assert (-Estimate.without("few", 0.95, 0.5)).point == -0.5


def test_a_difference_adds_the_distances_in_squares():
    other = Estimate(point=0.1, low=0.0, high=0.5, level=0.95)
    difference = BETWEEN.minus(other)

    assert difference.point == pytest.approx(0.4)
    assert difference.low == pytest.approx(0.4 - np.hypot(0.1, 0.4))
    assert difference.high == pytest.approx(0.4 + np.hypot(0.3, 0.1))
    assert BETWEEN.minus(Estimate.without("few", 0.95, 0.1)).reason == "few"


def test_equal_means_differ_by_nothing_in_95_percent():
    rng, hits = np.random.default_rng(0), []
    pairs = zip(*(dependent_months("AR(1) 0.3", n, 400, rng) for n in (6, 10)), strict=True)
    for now, then in pairs:
        low, high = mean_interval(now, 0.95).minus(mean_interval(then, 0.95)).ends
        hits.append(low <= 0 <= high)

    assert 0.93 <= np.mean(hits) <= 1.0
