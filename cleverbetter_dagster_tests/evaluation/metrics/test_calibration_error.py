import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.evaluation.metrics.calibration_error import (
    equal_mass_bins,
    expected_calibration_error,
    reliability_curve,
)

rows = st.lists(st.tuples(st.sampled_from([0, 1]), st.floats(0, 1)), min_size=1, max_size=60)


def test_two_bins_worked_by_hand():
    curve = reliability_curve([0, 1, 1, 1], [0.2, 0.4, 0.8, 0.9], n_bins=2)

    assert curve.mean_probability.tolist() == pytest.approx([0.3, 0.85])
    assert curve.observed.tolist() == [0.5, 1.0]
    assert curve.count.tolist() == [2, 2]
    assert curve.calibration_error == pytest.approx((0.2 + 0.15) / 2)


def test_a_constants_error_is_its_gap_to_the_base_rate():
    assert expected_calibration_error([0, 0, 0, 1], [0.4] * 4) == pytest.approx(0.15)


def test_bins_hold_equal_numbers_of_rows():
    index = equal_mass_bins(np.random.default_rng(0).random(1_000), n_bins=10)

    assert np.bincount(index).tolist() == [100] * 10


def test_perfect_probabilities_have_no_error():
    assert expected_calibration_error([0, 1, 0, 1], [0, 1, 0, 1]) == 0


@given(rows, st.integers(1, 12))
def test_bins_are_all_filled_and_never_split_equal_probabilities(drawn, n_bins):
    p = np.array([probability for _, probability in drawn])
    index = equal_mass_bins(p, n_bins)

    assert set(index) == set(range(index.max() + 1))
    assert index.max() < n_bins
    assert (np.diff(index[np.argsort(p, kind="stable")]) >= 0).all()
    assert all(len(set(index[p == value])) == 1 for value in p)


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(drawn, random):
    shuffled = list(drawn)
    random.shuffle(shuffled)

    assert expected_calibration_error(*zip(*shuffled, strict=True)) == pytest.approx(
        expected_calibration_error(*zip(*drawn, strict=True))
    )


@given(rows)
def test_the_error_lies_between_the_gap_of_means_and_one(drawn):
    y, p = (np.array(values, dtype=float) for values in zip(*drawn, strict=True))

    assert abs(y.mean() - p.mean()) - 1e-9 <= expected_calibration_error(y, p) <= 1
