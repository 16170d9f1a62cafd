"""Reading rows keeps its speed and memory, trainings their place beside each other, and cheap trials theirs."""

import os
from pathlib import Path

import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.benchmarks import bench_import_memory, bench_loader
from cleverbetter_dagster_tests.benchmarks.bench_side_by_side import GNU_DEFAULT, side_by_side
from cleverbetter_dagster_tests.benchmarks.bench_tuning import ROWS_VARIABLE, compare, load, unfiltered


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


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(ROWS_VARIABLE not in os.environ, reason=f"{ROWS_VARIABLE} names no folder of real rows")
def test_cheap_and_warm_trials_cost_less_than_full_ones() -> None:
    rows, as_of = load(Path(os.environ[ROWS_VARIABLE])), AsOf.parse("2023-12")
    spec = StudySpec(n_trials=100, timeout_seconds=None)
    contests = compare(unfiltered(rows, as_of), unfiltered(rows, as_of.plus(-1)), spec, 15)
    full, cheap, warm = (contests[name] for name in ("full trials", "cheap trials", "warm start"))
    assert full.cpu_seconds >= 4 * cheap.cpu_seconds
    assert full.cpu_seconds >= 10 * warm.cpu_seconds
    assert cheap.test_auc >= full.test_auc - 0.003
    assert warm.test_auc >= full.test_auc - 0.003
