"""`cleverbetter simulate-retraining`, as a person meets it."""

import io
import json
from pathlib import Path

import pytest
import typer
from psycopg import sql
from rich.console import Console
from typer.testing import CliRunner, Result

from cleverbetter_dagster.cli.models.simulate_retraining import show_ways, simulate_retraining
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.services.simulation import retraining
from cleverbetter_dagster.services.simulation.retraining import WAYS, RetrainingSpec
from cleverbetter_dagster.services.simulation.table import WayRow
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect

app = typer.Typer()
app.command()(simulate_retraining)

MONTHS = ("--from", "2022-07", "--to", "2022-08", "--every-row")


@pytest.fixture
def imported(environment: Settings, tmp_path: Path) -> Settings:
    """Simulated rows in the database."""
    files = [tmp_path / name for name in ("results.parquet", "features.parquet")]
    for frame, file in zip(
        simulate_rows(SimulationSpec(n_strategies=80, first_month="2021-01", months=24)), files, strict=True
    ):
        frame.to_parquet(file)
    import_files(environment, *files)
    return environment


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "170"}).invoke(app, list(arguments))


def written(settings: Settings) -> tuple[list[str], set[Path]]:
    """Every table of the database with its rows, and every file of the home."""
    tables = "SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY 1, 2"
    with psycopg_connect(settings, "rows") as connection:
        names = [sql.Identifier(*found) for found in connection.execute(tables).fetchall()]
        counts = sql.SQL("SELECT count(*) FROM {}")
        rows = [f"{name} {connection.execute(counts.format(name)).fetchone()}" for name in names]
    return rows, set(settings.home.rglob("*"))


@pytest.mark.slow
def test_table_and_json_agree_and_nothing_is_written(imported: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written(imported)
    shown = run(*MONTHS)
    assert shown.exit_code == 0, shown.output
    facts = json.loads(run(*MONTHS, "--json").stdout)
    assert [row["way"] for row in facts] == ["never", "monthly", "incremental", "drift"]
    assert [row["fits"] for row in facts[:3]] == [1, 2, 1]
    for row in facts:
        assert f"{row['auc_within_months']['point']:.4f}" in shown.stdout
        assert row["way"] in shown.stdout
    assert f"judged on {facts[0]['rows']} rows of the 2 months" in " ".join(shown.stdout.split())
    assert written(imported) == before


def test_four_ways_with_intervals_fit_into_80_columns() -> None:
    interval = Estimate(point=-0.0039, low=-0.0081, high=-0.0012, level=0.95)
    rows = [
        WayRow(
            way=way,
            fits=18,
            updates=17,
            cpu_seconds=1234.5,
            rows=5764,
            months=18,
            auc_within_months=interval,
            brier=interval,
            log_growth=interval,
            auc_lost=interval,
            brier_lost=interval,
        )
        for way in WAYS
    ]
    shown = io.StringIO()
    show_ways(rows, RetrainingSpec(family="ensemble", first="2022-04", last="2023-09"), Console(width=80, file=shown))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in shown.getvalue()
    # Each of the five rows of figures has the figure of every way, and below it both ends of its interval.
    figures = [at for at, line in enumerate(lines) if line.split()[-4:] == ["-0.0039"] * 4]
    assert [lines[at].split()[0] for at in figures] == ["AUC", "lost", "Brier", "lost", "growth"]
    for at in figures:
        assert [line.split() for line in lines[at + 1 : at + 3]] == [["-0.0081,"] * 4, ["-0.0012"] * 4]


def test_an_interrupted_simulation_leaves_nothing(imported: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written(imported)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retraining, "new_examples", interrupted)
    assert run(*MONTHS).exit_code == 130
    assert written(imported) == before


def test_months_without_outcomes_are_refused(imported: Settings) -> None:
    result = run("--from", "2022-11", "--to", "2022-12", "--every-row")
    assert isinstance(result.exception, DataError)
    assert "no outcome" in str(result.exception)
