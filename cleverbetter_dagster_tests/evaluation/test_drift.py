"""Drift is an effect size, not a p-value: large moves fail, small moves on many rows and too few rows pass."""

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


def test_the_distance_is_the_largest_gap_of_distribution_functions() -> None:
    before, after = np.sort(BEFORE["odds"]), np.sort(AFTER["volume"])
    everywhere = np.concatenate([before, after])
    shares = [np.searchsorted(values, everywhere, "right") / len(values) for values in (before, after)]
    assert distribution_distance(before, after) == pytest.approx(np.abs(shares[0] - shares[1]).max())


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40), st.lists(st.floats(-3, 3), min_size=1, max_size=40))
def test_the_distance_is_symmetric(old: list[float], new: list[float]) -> None:
    assert 0 <= distribution_distance(old, new) <= 1
    assert distribution_distance(old, new) == distribution_distance(new, old)
    assert distribution_distance(old, old) == 0


def test_the_bound_is_the_distance_of_a_large_effect() -> None:
    assert pytest.approx(2 * stats.norm.cdf(0.4) - 1, abs=0.005) == LARGE_DRIFT


def test_a_shift_by_one_deviation_is_large() -> None:
    for rows in (300, 3000, 30_000):
        drift = drift_of("x", BEFORE["odds"], RNG.normal(5.0, 1.0, size=rows))
        assert drift is not None
        assert drift.is_large
        assert drift.mean_shift == pytest.approx(1.0, abs=0.15)


def test_samples_of_the_fewest_rows_stay_below_the_bound() -> None:
    drifts = [drift_of("x", BEFORE["odds"], RNG.normal(4, 1, size=FEWEST_ROWS)) for _ in range(300)]
    assert not any(one.is_large for one in drifts if one is not None)


def test_values_that_go_missing_drift() -> None:
    holed = AFTER.assign(odds=AFTER["odds"].mask(np.arange(300) < 120))
    drifts = {one.column: one for one in drift_of_columns(BEFORE, holed.drop(columns="volume"), GROWS)}
    assert drifts["odds"].distance == pytest.approx(0.4, abs=0.05)
    assert drifts["odds"].mean_shift == pytest.approx(0.0, abs=0.2)
    assert (drifts["volume"].distance, drifts["volume"].mean_shift) == (1.0, None)


def test_rows_of_the_same_world_pass() -> None:
    assert columns_stay(BEFORE, AFTER, GROWS).passed
    assert not columns_stay(BEFORE, AFTER).passed


def test_a_planted_drift_is_named() -> None:
    outcome = columns_stay(BEFORE, AFTER.assign(volume=AFTER["volume"] + 1.0), GROWS)
    assert not outcome.passed
    assert "volume" in outcome.message
    assert "odds" not in outcome.message


def test_a_small_shift_on_many_rows_passes() -> None:
    many, moved = RNG.normal(0, 1, 50_000), RNG.normal(0.1, 1, 50_000)
    assert stats.ks_2samp(many, moved).pvalue < 1e-20
    assert values_stay(many, moved, "scores of then and now").passed


def test_too_few_rows_pass() -> None:
    outcome = values_stay(np.zeros(1000), np.ones(FEWEST_ROWS - 1), "scores")
    assert outcome.passed
    assert "too few" in outcome.message
    assert not values_stay(np.zeros(1000), np.ones(FEWEST_ROWS), "scores").passed
    assert drift_of_columns(BEFORE, AFTER.head(FEWEST_ROWS - 1)) == []
