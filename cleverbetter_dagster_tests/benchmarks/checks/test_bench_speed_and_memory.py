"""Reading rows keeps its speed and memory, and trainings their place beside each other."""

from pathlib import Path

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.benchmarks import bench_import_memory, bench_loader
from cleverbetter_dagster_tests.benchmarks.bench_side_by_side import GNU_DEFAULT, side_by_side


@pytest.mark.slow
def test_long_texts_and_many_columns_take_little_memory(database: Settings, tmp_path: Path) -> None:
    comparison = bench_import_memory.compare(database, 1_000_000, tmp_path)
    assert [run.rows for _, run, _ in comparison] == [1_000_000, 1_000_000, 100_000, 100]
    _, text, _ = comparison[1]
    assert text.peak_mb < 400
    assert comparison[3][2] <= 3


@pytest.mark.slow
def test_the_loader_is_near_copy_and_far_from_objects(database: Settings) -> None:
    """At 200,000 rows, where a fifth of a second of connecting and looking up keys still counts."""
    bench_loader.fill(database, 200_000)
    medians = bench_loader.compare(database, 200_000, 40_000, 3)
    assert medians["copy"].seconds / medians["loader"].seconds > 0.6
    assert medians["objects"].seconds / medians["loader"].seconds > 8
    assert medians["loader"].peak_mb < 400


@pytest.mark.slow
def test_two_trainings_at_once_take_about_twice_as_long() -> None:
    alone, together = side_by_side(1, None), side_by_side(2, None)
    assert together < 3 * alone
    assert alone < 1.5 * side_by_side(1, GNU_DEFAULT)
