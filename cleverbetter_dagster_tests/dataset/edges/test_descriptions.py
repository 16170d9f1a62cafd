"""Descriptions are running means without columns that tell of luck, as normal scores."""

import numpy as np
import pytest
from scipy.stats import norm

from cleverbetter_dagster.dataset.edges.descriptions import Descriptions


def described(values: np.ndarray, outcome: np.ndarray) -> Descriptions:
    """Values float[windows, strategies, columns], outcomes float[windows, strategies], window after window."""
    windows, strategies, columns = values.shape
    descriptions = Descriptions(strategies, columns)
    for window in range(windows):
        descriptions.add(np.arange(strategies), values[window], outcome[window])
    return descriptions


def test_scores_are_normal_scores_of_the_means() -> None:
    values = np.array([[1.0, 10.0, 4.0], [3.0, 20.0, 6.0]])[..., None]
    descriptions = described(values, np.zeros((2, 3)))
    means = descriptions.means(3)
    assert means[:, 0].tolist() == [2.0, 15.0, 5.0]
    expected = norm.ppf([1 / 6, 5 / 6, 3 / 6])
    assert descriptions.scale(3).scores(means)[:, 0] == pytest.approx(expected)


def test_equal_means_share_the_middle_of_their_ranks() -> None:
    descriptions = described(np.tile(np.array([1.0, 1.0, 2.0, 3.0])[:, None], (2, 1, 1)), np.zeros((2, 4)))
    scores = descriptions.scale(4).scores(descriptions.means(4))[:, 0]
    assert scores == pytest.approx(norm.ppf([2 / 8, 2 / 8, 5 / 8, 7 / 8]))


def test_a_missing_mean_is_in_the_middle() -> None:
    descriptions = described(np.tile(np.array([1.0, np.nan, 3.0])[:, None], (2, 1, 1)), np.zeros((2, 3)))
    assert descriptions.scale(3).scores(descriptions.means(3))[1, 0] == 0.0


def test_a_strategy_seen_later_is_ranked_among_the_known() -> None:
    descriptions = described(np.tile(np.array([1.0, 2.0, 3.0, 4.0])[:, None], (2, 1, 1)), np.zeros((2, 4)))
    scores = descriptions.scale(4).scores(np.array([[2.5], [-9.0], [99.0]]))[:, 0]
    assert scores == pytest.approx(norm.ppf([2 / 4, 0.5 / 4, 3.5 / 4]))


def test_a_column_that_may_tell_of_luck_is_left_out() -> None:
    rng = np.random.default_rng(1)
    outcome = rng.normal(size=(30, 20))
    noise = rng.normal(size=(30, 20, 3))
    # Means differ by 1, and by luck of 1/30, 1/120 and 0.
    values = np.array([1.0, 0.5, 0.0]) * outcome[..., None] + noise + rng.normal(size=(1, 20, 1))
    assert described(values, outcome).scale(20).columns == (2,)


def test_a_column_that_tells_far_more_than_luck_is_used() -> None:
    rng = np.random.default_rng(1)
    outcome = rng.normal(size=(30, 20))
    values = outcome[..., None] + 6.0 * rng.normal(size=(1, 20, 1))
    # As far as 36 against 1/30 after all windows; against 1/2 after two of them.
    assert described(values, outcome).scale(20).columns == (0,)
    assert described(values[:2], outcome[:2]).scale(20).columns == ()


def test_skill_of_strategies_apart_does_not_count_as_luck() -> None:
    rng = np.random.default_rng(1)
    skill = rng.normal(size=(1, 20))
    outcome = skill + 0.1 * rng.normal(size=(60, 20))
    values = skill[..., None] + rng.normal(size=(60, 20, 1))
    assert described(values, outcome).scale(20).columns == (0,)


def test_no_column_is_used_before_a_second_window() -> None:
    assert described(np.arange(5.0)[None, :, None], np.zeros((1, 5))).scale(5).columns == ()


def test_a_constant_of_each_strategy_describes_it() -> None:
    large = np.tile(np.array([1e9, 1e9 + 1, 1e9 + 2])[:, None], (4, 1, 1))
    assert described(large, np.random.default_rng(0).normal(size=(4, 3))).scale(3).columns == (0,)


def test_a_column_equal_everywhere_is_left_out() -> None:
    assert described(np.ones((3, 4, 1)), np.zeros((3, 4))).scale(4).columns == ()


def test_columns_that_differ_most_between_strategies_are_used() -> None:
    rng = np.random.default_rng(2)
    apart = np.r_[np.full(32, 5.0), np.full(3, 0.01)]
    values = rng.normal(size=(12, 10, 35)) + apart * rng.normal(size=(1, 10, 35))
    used = described(values, np.zeros((12, 10))).scale(10).columns
    assert len(used) == 32 and set(used) & {32, 33, 34} == set()


def test_a_value_measured_late_begins_its_mean() -> None:
    values = np.array([[np.nan, 1.0], [7.0, 3.0]])[..., None]
    assert described(values, np.zeros((2, 2))).means(2)[:, 0].tolist() == [7.0, 2.0]


def test_rows_of_one_strategy_may_be_added_together() -> None:
    together, apart = Descriptions(1, 1), Descriptions(1, 1)
    values, outcome = np.array([[np.nan], [2.0], [5.0]]), np.array([0.1, 0.2, 0.3])
    together.add(np.zeros(3, dtype=int), values, outcome)
    for row in range(3):
        apart.add(np.zeros(1, dtype=int), values[row : row + 1], outcome[row : row + 1])
    assert together.means(1).tolist() == apart.means(1).tolist() == [[3.5]]
