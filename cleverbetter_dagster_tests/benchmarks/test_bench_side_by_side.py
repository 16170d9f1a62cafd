"""Trainings that share the cores slow each other down by what they share, not by waiting for each other."""

import pytest

from cleverbetter_dagster_tests.benchmarks.bench_side_by_side import GNU_DEFAULT, side_by_side


@pytest.mark.slow
def test_two_trainings_at_once_take_about_twice_as_long() -> None:
    alone, together = side_by_side(1, None), side_by_side(2, None)
    assert together < 3 * alone
    assert alone < 1.5 * side_by_side(1, GNU_DEFAULT)
