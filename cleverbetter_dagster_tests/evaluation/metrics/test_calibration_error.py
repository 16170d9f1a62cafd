import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.evaluation.metrics.calibration_error import (
    calibrated_deviation,
    calibration_error,
    equal_mass_bins,
    reliability_curve,
)

rows = st.lists(st.tuples(st.sampled_from([0, 1]), st.floats(0, 1)), min_size=2, max_size=60)
TWO_MONTHS = np.repeat([0, 1], 10)


def coins(rng, n=600):
    """Labels of a calibrated model, and its probabilities."""
    probability = rng.uniform(0.1, 0.6, n)
    return rng.random(n) < probability, probability


def test_two_bins_worked_by_hand():
    curve = reliability_curve([0, 1, 1, 1], [0.2, 0.4, 0.8, 0.9], n_bins=2)

    assert curve.mean_probability.tolist() == pytest.approx([0.3, 0.85])
    assert curve.observed.tolist() == [0.5, 1.0]
    assert curve.count.tolist() == [2, 2]
    # Gaps -0.2 and 0.6, 0.2 and 0.1: products of the pairs -0.12 and 0.02, in mean below 0.
    assert calibration_error([0, 1, 1, 1], [0.2, 0.4, 0.8, 0.9], n_bins=2) == 0
    # 0.6 and 0.4, 0.2 and 0.1: products 0.24 and 0.02.
    assert calibration_error([1, 1, 1, 1], [0.4, 0.6, 0.8, 0.9], n_bins=2) == pytest.approx(np.sqrt(0.13))


def test_a_month_with_two_rows_is_one_piece_of_evidence():
    # Gaps 0.5, 0.5 in one month and 0.5, -0.5 in the other: sums 1 and 0, whose product is 0.
    assert calibration_error([1, 1, 1, 0], [0.5] * 4, block=[0, 0, 1, 1]) == 0
    # Sums 1 and 1: twice 1 over eight ordered pairs.
    assert calibration_error([1, 1, 1, 1], [0.5] * 4, block=[0, 0, 1, 1]) == pytest.approx(np.sqrt(2 / 8))


def test_calibrated_models_have_none_about_every_second_time():
    rng = np.random.default_rng(0)
    repeated = [coins(rng) for _ in range(200)]
    errors = [calibration_error(*drawn) for drawn in repeated]
    mean_gaps = [np.average(abs(c.observed - c.mean_probability), weights=c.count)
                 for c in (reliability_curve(*drawn) for drawn in repeated)]  # fmt: skip

    assert np.mean(mean_gaps) > 0.04  # the usual figure, all of it chance
    assert 0.4 < np.mean(np.array(errors) == 0) < 0.65
    assert np.mean(np.square(errors)) < 0.03**2


def test_the_squared_error_has_no_bias():
    rng, squares = np.random.default_rng(1), []
    for _ in range(300):
        label, probability = coins(rng)
        squares.append(calibration_error(label, probability + 0.1) ** 2)

    assert np.mean(squares) == pytest.approx(0.1**2, abs=0.001)


def test_luck_that_a_month_shares_is_no_error():
    label = np.repeat([1, 0, 1, 0], [8, 2, 2, 8])  # one good month, one bad month

    assert calibration_error(label, [0.5] * 20, TWO_MONTHS) == 0
    assert calibration_error(np.tile([1] * 8 + [0] * 2, 2), [0.5] * 20, TWO_MONTHS) == pytest.approx(0.3)


@pytest.mark.parametrize("block", [None, [0]])
def test_one_row_has_no_error(block):
    assert calibration_error([1], [0.4], block) is None


def test_a_single_month_has_no_error():
    assert calibration_error([1, 0], [0.4, 0.4], [3, 3]) is None


def test_perfect_probabilities_have_no_error():
    assert calibration_error([0, 1, 0, 1], [0, 1, 0, 1]) == 0


def test_bins_hold_equal_numbers_of_rows():
    index = equal_mass_bins(np.random.default_rng(0).random(1_000), n_bins=10)

    assert np.bincount(index).tolist() == [100] * 10


def test_chance_of_independent_rows_is_that_of_coins():
    assert calibrated_deviation([0, 1] * 50, [0.5] * 100, np.repeat([0, 1], 50)) == pytest.approx([0.05])


def test_luck_that_months_share_widens_the_chance():
    # A month of ones and a month of noughts: sums of 25 and -25 where coins have a variance of 25 together.
    apart = calibrated_deviation(np.repeat([1, 0], 50), [0.5] * 100, np.repeat([0, 1], 50))
    # Four months, neighbours alike: sums of 12.5, 12.5, -12.5, -12.5; neighbours agree once more than they differ.
    alike = calibrated_deviation(np.repeat([1, 0], 50), [0.5] * 100, np.repeat([0, 1, 2, 3], 25))

    assert apart == pytest.approx([np.sqrt(2 * 25**2) / 100])
    assert alike == pytest.approx([np.sqrt(4 * 12.5**2 + 2 * 12.5**2 * 4 / 3) / 100])


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
    one, other = (calibration_error(*zip(*order, strict=True)) for order in (shuffled, drawn))

    assert one == (None if other is None else pytest.approx(other, abs=1e-6))


@given(rows)
def test_the_error_lies_between_nought_and_one(drawn):
    error = calibration_error(*zip(*drawn, strict=True))

    assert error is None or 0 <= error <= 1 + 1e-9
