"""The loader keeps its place between the server's own limit and one object a row."""

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.benchmarks.bench_loader import compare, fill


@pytest.mark.slow
def test_the_loader_is_near_copy_and_far_from_objects(database: Settings) -> None:
    """At 200,000 rows, where a fifth of a second of connecting and looking up keys still counts."""
    fill(database, 200_000)
    medians = compare(database, 200_000, 40_000, 3)
    assert medians["copy"].seconds / medians["loader"].seconds > 0.6
    assert medians["objects"].seconds / medians["loader"].seconds > 8
    assert medians["loader"].peak_mb < 400
