"""An import's memory is bounded by a batch, whatever is in the file."""

from pathlib import Path

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.benchmarks.bench_import_memory import compare


@pytest.mark.slow
def test_long_texts_and_many_columns_take_little_memory(database: Settings, tmp_path: Path) -> None:
    comparison = compare(database, 1_000_000, tmp_path)
    assert [run.rows for _, run, _ in comparison] == [1_000_000, 1_000_000, 100_000, 100]
    _, text, _ = comparison[1]
    assert text.peak_mb < 400
    assert comparison[3][2] <= 3
