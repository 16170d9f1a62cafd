"""Rows and strategies that resemble each other count for less: published and hand-worked examples, properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.significance.effective_sample import (
    effective_sample_size,
    independent_strategies,
    intraclass_correlation,
)

# Shrout and Fleiss (1979), table 2: six targets, four judges each.
RATINGS = [9, 2, 5, 8, 6, 1, 3, 2, 8, 4, 6, 8, 7, 1, 2, 6, 10, 5, 6, 9, 6, 2, 4, 7]
TARGET = np.repeat(np.arange(6), 4)


def test_the_ratings_of_shrout_and_fleiss() -> None:
    # They give mean squares of 11.24 between and 6.26 within targets, and ICC(1,1) = 0.17.
    correlation = intraclass_correlation(RATINGS, TARGET)
    assert correlation == pytest.approx(0.17, abs=5e-3)
    assert correlation == pytest.approx((11.24 - 6.26) / (11.24 + 3 * 6.26), abs=5e-4)
    assert effective_sample_size(RATINGS, TARGET) == pytest.approx(24 / (1 + 3 * correlation))


def test_groups_of_unlike_size_worked_by_hand() -> None:
    # Groups (0, 2), (4), (5, 7): means 1, 4, 6 about 3.6; between (2 x 6.76 + 0.16 + 2 x 5.76) / 2 = 12.6,
    # within (2 + 0 + 2) / 2 = 2, usual size (5 - 9 / 5) / 2 = 1.6.
    values, group = [0, 2, 4, 5, 7], ["a", "a", "b", "c", "c"]
    rho = (12.6 - 2) / (12.6 + 0.6 * 2)
    assert intraclass_correlation(values, group) == pytest.approx(rho)
    assert effective_sample_size(values, group) == pytest.approx(1 + 2 * 2 / (1 + rho))


def test_rows_that_repeat_their_month_count_once() -> None:
    assert effective_sample_size(np.repeat([0.0, 1.0, 5.0], 4), np.repeat([1, 2, 3], 4)) == pytest.approx(3)
    assert effective_sample_size([1.0, 2.0], [7, 7]) == 1


def test_independent_rows_count_in_full() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    assert effective_sample_size(values, np.repeat(np.arange(40), 100)) > 2000
    assert effective_sample_size([1.0, 2.0, 4.0], [1, 2, 3]) == 3


def test_the_mean_correlation_gives_the_independent_strategies() -> None:
    # Two that agree, one that opposes them: correlations 1, -1, -1, mean -1/3, taken as none.
    up = np.array([0.0, 1.0, 0.0, 3.0])
    assert independent_strategies(np.column_stack([up, up])) == pytest.approx(1)
    assert independent_strategies(np.column_stack([up, up, -up])) == pytest.approx(3)
    # Half in common: correlation 1/2 between each two of four gives 1/2 + 4/2.
    rng = np.random.default_rng(0)
    half = rng.normal(size=(20_000, 1)) + rng.normal(size=(20_000, 4))
    assert independent_strategies(half) == pytest.approx(2.5, abs=0.05)


def test_the_shortcut_is_the_mean_over_all_pairs() -> None:
    table = np.random.default_rng(3).normal(size=(12, 6)) + np.random.default_rng(4).normal(size=(12, 1))
    pairs = np.corrcoef(table.T)[np.triu_indices(6, 1)]
    assert independent_strategies(table) == pytest.approx(pairs.mean() + (1 - pairs.mean()) * 6)


def test_a_strategy_that_never_varies_counts_as_one() -> None:
    up = np.array([0.0, 1.0, 0.0, 3.0])
    assert independent_strategies(np.column_stack([up, np.zeros(4)])) == 2


def test_unusable_values_are_refused() -> None:
    with pytest.raises(InvalidInput, match="2 values but groups"):
        effective_sample_size([1.0, 2.0], [1])
    with pytest.raises(InvalidInput, match="must be finite"):
        independent_strategies([[np.nan, 1.0]])


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-5, 5)), min_size=1, max_size=40))
def test_the_effective_size_lies_between_one_and_all(rows: list[tuple[int, float]]) -> None:
    group, values = zip(*rows, strict=True)
    assert 1 - 1e-9 <= effective_sample_size(values, group) <= len(values) + 1e-9
