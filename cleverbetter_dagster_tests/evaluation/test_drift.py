"""Drift is an effect, not a p-value: large moves are found, small ones on many rows are not, few rows tell nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cleverbetter_dagster.evaluation.drift import (
    FEWEST_ROWS,
    LARGE_DRIFT,
    columns_stay,
    distribution_distance,
    drift_of,
    drift_of_columns,
    values_stay,
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


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40), st.lists(st.floats(-3, 3), min_size=1, max_size=40))
def test_the_distance_is_symmetric_within_its_bounds_and_zero_against_itself(
    old: list[float], new: list[float]
) -> None:
    assert 0 <= distribution_distance(old, new) <= 1
    assert distribution_distance(old, new) == distribution_distance(new, old)
    assert distribution_distance(old, old) == 0


def test_the_bound_is_the_distance_of_normals_a_large_effect_apart() -> None:
    assert pytest.approx(2 * stats.norm.cdf(0.4) - 1, abs=0.005) == LARGE_DRIFT


def test_a_shift_by_one_deviation_is_large_whatever_the_number_of_rows() -> None:
    for rows in (300, 3000, 30_000):
        found = drift_of("x", BEFORE["odds"], RNG.normal(5.0, 1.0, size=rows))
        assert found is not None
        assert found.is_large
        assert found.mean_shift == pytest.approx(1.0, abs=0.15)


def test_where_nothing_moved_hardly_any_sample_of_the_fewest_rows_reaches_the_bound() -> None:
    found = [drift_of("x", BEFORE["odds"], RNG.normal(4, 1, size=FEWEST_ROWS)) for _ in range(300)]
    assert not any(one.is_large for one in found if one is not None)


def test_going_missing_is_drifting_and_a_column_that_vanished_has_gone_missing() -> None:
    holed = AFTER.assign(odds=AFTER["odds"].mask(np.arange(300) < 120))
    drifts = {one.column: one for one in drift_of_columns(BEFORE, holed.drop(columns="volume"), GROWS)}
    assert drifts["odds"].distance == pytest.approx(0.4, abs=0.05)
    assert drifts["odds"].mean_shift == pytest.approx(0.0, abs=0.2)
    assert (drifts["volume"].distance, drifts["volume"].mean_shift) == (1.0, None)


def test_rows_of_the_same_world_pass_and_a_feature_that_grows_by_nature_is_left_out() -> None:
    assert columns_stay(BEFORE, AFTER, GROWS).passed
    assert not columns_stay(BEFORE, AFTER).passed


def test_a_planted_drift_is_found_and_the_feature_named() -> None:
    found = columns_stay(BEFORE, AFTER.assign(volume=AFTER["volume"] + 1.0), GROWS)
    assert not found.passed
    assert "volume" in found.message
    assert "odds" not in found.message


def test_a_shift_of_a_tenth_of_a_deviation_on_many_rows_passes_though_its_p_value_is_tiny() -> None:
    many, moved = RNG.normal(0, 1, 50_000), RNG.normal(0.1, 1, 50_000)
    assert stats.ks_2samp(many, moved).pvalue < 1e-20
    assert values_stay(many, moved, "scores of then and now").passed


def test_few_rows_tell_nothing_whatever_they_are() -> None:
    found = values_stay(np.zeros(1000), np.ones(FEWEST_ROWS - 1), "scores")
    assert found.passed
    assert "too few" in found.message
    assert not values_stay(np.zeros(1000), np.ones(FEWEST_ROWS), "scores").passed
    assert drift_of_columns(BEFORE, AFTER.head(FEWEST_ROWS - 1)) == []
