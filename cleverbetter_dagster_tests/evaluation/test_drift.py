"""Drift as effect sizes: by hand, and it neither grows with the rows nor cries on few."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.drift import LARGE_PSI, drift_of, drift_of_columns, population_stability

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=5000)


def test_two_bins_worked_by_hand() -> None:
    # Shares 1/2, 1/2 become 1/4, 3/4: (-1/4) ln(1/2) + (1/4) ln(3/2) = 0.2747; (2 - 1)(1/4 + 1/4) by chance.
    psi, expected = population_stability([0, 0, 1, 1], [0, 1, 1, 1])
    assert psi == pytest.approx(0.25 * np.log(2) + 0.25 * np.log(1.5))
    assert expected == pytest.approx(0.5)


def test_missing_values_are_a_bin_of_their_own() -> None:
    psi, _ = population_stability([1, 1, 1, np.nan], [1, np.nan, np.nan, np.nan])
    assert psi == pytest.approx(2 * 0.5 * np.log(3))
    assert drift_of("x", [np.nan] * 3, [np.nan] * 2).psi == 0


def test_a_shift_by_one_deviation_is_large_whatever_the_number_of_rows() -> None:
    for rows in (300, 3000, 30_000):
        found = drift_of("x", NORMAL, RNG.normal(1.0, 1.0, size=rows))
        assert found.excess > 2 * LARGE_PSI
        assert found.mean_shift == pytest.approx(1.0, abs=0.15)


def test_where_nothing_moved_the_index_is_about_what_chance_gives() -> None:
    found = [drift_of("x", NORMAL, RNG.normal(size=200)) for _ in range(200)]
    assert np.mean([one.psi for one in found]) == pytest.approx(found[0].expected_psi, rel=0.15)
    assert max(one.excess for one in found) < LARGE_PSI


def test_columns_come_furthest_moved_first_and_one_that_vanished_has_moved() -> None:
    old = pd.DataFrame({"same": NORMAL, "moved": NORMAL, "gone": NORMAL})
    new = pd.DataFrame({"same": NORMAL[:2500], "moved": NORMAL[:2500] + 0.5})
    found = drift_of_columns(old, new)
    assert [one.column for one in found] == ["gone", "moved", "same"]
    assert found[0].mean_shift is None
    assert found[2].excess < 0.01


def test_no_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="3 reference rows and 0 new rows"):
        population_stability([1, 2, 3], [])


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40), st.lists(st.floats(-3, 3), min_size=1, max_size=40))
def test_the_index_is_never_negative_and_zero_against_itself(old: list[float], new: list[float]) -> None:
    assert population_stability(old, new)[0] >= 0
    assert population_stability(old, old)[0] == 0
