"""Cheap trials keep their place: far less CPU than full ones, at hardly any loss on the test rows."""

import os
from pathlib import Path

import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster_tests.benchmarks.bench_tuning import ROWS_VARIABLE, compare, load, unfiltered


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
