"""Simulated rows and a team's own are never mixed: neither by `cleverbetter demo` nor by an import after it."""

from pathlib import Path

import pytest

from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.demo import demo_home, is_demo, mark_as_demo, refuse_other_rows
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.cli.conftest import command_in
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


SPEC = SimulationSpec(n_strategies=50, months=3)


@pytest.fixture
def simulated(database: Settings, tmp_path: Path) -> Settings:
    """A database with the rows of a demo, imported as the demo imports them."""
    results, features = simulate_rows(SPEC)
    results.to_parquet(tmp_path / "results.parquet")
    features.to_parquet(tmp_path / "features.parquet")
    mark_as_demo(database, SPEC, set(results["strategy_id"]))
    import_files(database, tmp_path / "results.parquet", tmp_path / "features.parquet")
    return database


def rows_in(settings: Settings) -> int:
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('backtest_results')").fetchone() == (None,):
            return 0
        return len(connection.execute("SELECT 1 FROM backtest_results").fetchall())


def test_an_import_beside_the_demos_rows_is_refused_until_reset(
    simulated: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, own = command_in(simulated, monkeypatch), tmp_path / "own.parquet"
    upstream_results(2).to_parquet(own)
    before = rows_in(simulated)
    refused = command("import", "--results", str(own))
    assert (refused.returncode, "`cleverbetter reset --demo` removes the demo" in refused.stderr) == (1, True)
    assert rows_in(simulated) == before
    assert command("reset", "--demo").returncode == 3  # nobody to ask
    assert command("reset").returncode == 2
    assert command("reset", "--demo", "--yes").returncode == 0
    assert (rows_in(simulated), is_demo(simulated)) == (0, False)
    assert command("import", "--results", str(own)).returncode == 0
    nothing = command("reset", "--demo", "--yes")
    assert (nothing.returncode, rows_in(simulated)) == (4, 2)


def test_a_reset_refuses_where_a_team_has_rows(
    simulated: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream_results(2).to_parquet(tmp_path / "own.parquet")
    import_files(simulated, tmp_path / "own.parquet", None)  # past the command that refuses it
    before = rows_in(simulated)
    refused = command_in(simulated, monkeypatch)("reset", "--demo", "--yes")
    assert (refused.returncode, "are not simulated" in refused.stderr) == (1, True)
    assert rows_in(simulated) == before


def test_the_demo_has_its_own_home_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = Settings()
    assert demo_home(unnamed) == unnamed.state_folder / "demo"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert demo_home(Settings()) == tmp_path
