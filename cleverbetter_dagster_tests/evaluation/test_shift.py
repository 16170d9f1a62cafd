"""Drift is an effect, not a p-value: large moves are found, small ones on many rows are not, few rows tell nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cleverbetter_dagster.evaluation.shift import (
    FEWEST_ROWS,
    LARGE_EFFECT,
    distribution_distance,
    features_shifted,
    values_shifted,
)

RNG = np.random.default_rng(1)
BEFORE = pd.DataFrame({"odds": RNG.normal(4, 1, 1000), "volume": RNG.exponential(1, 1000), "windows": np.arange(1000)})
AFTER = pd.DataFrame(
    {"odds": RNG.normal(4, 1, 300), "volume": RNG.exponential(1, 300), "windows": np.arange(900, 1200)}
)
GROWS = ("windows",)


def test_the_distance_is_scipys_kolmogorov_smirnov_statistic() -> None:
    found = distribution_distance(BEFORE["odds"], AFTER["volume"])
    assert found == pytest.approx(stats.ks_2samp(BEFORE["odds"], AFTER["volume"]).statistic)


def test_the_bound_is_the_distance_of_normals_a_large_effect_apart() -> None:
    assert pytest.approx(2 * stats.norm.cdf(0.4) - 1, abs=0.005) == LARGE_EFFECT


def test_missing_values_are_left_out() -> None:
    holed = np.concatenate([BEFORE["odds"], np.full(500, np.nan)])
    assert distribution_distance(holed, AFTER["odds"]) == distribution_distance(BEFORE["odds"], AFTER["odds"])


def test_rows_of_the_same_world_pass_and_a_feature_that_grows_by_nature_is_left_out() -> None:
    assert features_shifted(BEFORE, AFTER, GROWS).passed
    assert not features_shifted(BEFORE, AFTER).passed


def test_a_planted_shift_is_found_and_the_feature_named() -> None:
    found = features_shifted(BEFORE, AFTER.assign(volume=AFTER["volume"] + 1.0), GROWS)
    assert not found.passed
    assert "volume" in found.told
    assert "odds" not in found.told


def test_a_shift_of_a_tenth_of_a_deviation_on_many_rows_passes_though_its_p_value_is_tiny() -> None:
    many, moved = RNG.normal(0, 1, 50_000), RNG.normal(0.1, 1, 50_000)
    assert stats.ks_2samp(many, moved).pvalue < 1e-20
    assert values_shifted(many, moved, "scores of then and now").passed


def test_few_rows_tell_nothing_whatever_they_are() -> None:
    found = values_shifted(np.zeros(1000), np.ones(FEWEST_ROWS - 1), "scores")
    assert found.passed
    assert "too few" in found.told
    assert not values_shifted(np.zeros(1000), np.ones(FEWEST_ROWS), "scores").passed
