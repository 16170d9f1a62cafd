"""Updates keep their place: far less CPU than training in full, at hardly any loss on the month that follows."""

import os
from pathlib import Path

import pytest

from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster_tests.benchmarks.bench_incremental import (
    LEAST_SPEEDUP,
    MOST_AUC_LOST,
    months_of,
    summary_of,
)
from cleverbetter_dagster_tests.benchmarks.bench_tuning import ROWS_VARIABLE, load


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(ROWS_VARIABLE not in os.environ, reason=f"{ROWS_VARIABLE} names no folder of real rows")
@pytest.mark.parametrize("name", list(FAMILIES))
def test_an_update_costs_a_twentieth_and_loses_hardly_anything(name: str) -> None:
    rows = load(Path(os.environ[ROWS_VARIABLE]))
    summary = summary_of(name, list(months_of(FAMILIES[name], rows, 20)))
    assert summary.speedup >= LEAST_SPEEDUP
    assert summary.lost_by_update.point <= MOST_AUC_LOST
    assert summary.growth_lost.low <= 0, "stakes are certainly worse than after full training"
