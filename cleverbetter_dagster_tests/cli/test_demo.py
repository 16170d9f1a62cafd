"""`cleverbetter demo` mixes no simulated rows with a team's own, whatever their table is called."""

from pathlib import Path

import pytest

from cleverbetter_dagster.cli.demo import refuse_other_rows
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.support.upstream_rows import upstream_results


@pytest.mark.parametrize("table", ["backtest_results", "team.their_results"])
def test_the_demo_refuses_rows_of_other_strategies(database: Settings, tmp_path: Path, table: str) -> None:
    settings = database.model_copy(update={"results_table": table})
    refuse_other_rows(settings, {"s1"})  # there is no table yet
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        connection.execute("CREATE SCHEMA team")
    upstream_results(2).to_parquet(tmp_path / "results.parquet")
    import_files(settings, tmp_path / "results.parquet", None)
    refuse_other_rows(settings, {"s1"})
    with pytest.raises(DataError, match=r"results holds rows that are not simulated \(strategy s1\)"):
        refuse_other_rows(settings, {"a simulated one"})
