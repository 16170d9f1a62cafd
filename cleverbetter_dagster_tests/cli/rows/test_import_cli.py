"""`cleverbetter import`, as a person meets it."""

import json
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from cleverbetter_dagster.cli.rows.import_rows import import_rows, show_import
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import FileReport, ImportReport
from cleverbetter_dagster_tests.support.upstream_rows import upstream_features, upstream_results

app = typer.Typer()
app.command("import")(import_rows)


@pytest.fixture
def files(environment: Settings, tmp_path: Path) -> tuple[str, str]:
    """Five backtest rows, two of them impossible and one with a column too many, and their features."""
    results, features = tmp_path / "results.csv", tmp_path / "features.parquet"
    upstream_results(5).assign(win_rate=[0.5, 50, 0.5, -1, 0.5], colour="red").to_csv(results, index=False)
    upstream_features(5).to_parquet(features)
    return str(results), str(features)


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, list(arguments))


def test_the_closing_table_shows_counts_reasons_and_the_remedy(files: tuple[str, str]) -> None:
    result = run("--results", files[0], "--features", files[1])
    assert result.exit_code == 0
    output = " ".join(result.stdout.split())
    assert "results.csv 5 3 0 0 2" in output
    assert "features.parquet 5 5 0 0 0" in output
    assert "features.parquet went into public.ml_features" in output
    assert "win_rate must be within 0..1" in output
    assert "2 2 of 10 rows were not loaded, the others were" in output  # the first 2 is the count of the reason
    assert "cleverbetter quarantine list" in output
    assert "results.csv went into public.backtest_results, which has no place for the columns colour" in output


def test_names_and_headings_fit_a_terminal_of_80_columns() -> None:
    names, rows = ("backtest_results.parquet", "ml_features.parquet"), 1_234_567
    files = tuple(FileReport(name, "public.x", rows, rows, rows, rows, rows, {}, (), 0.5) for name in names)
    written = StringIO()
    show_import(ImportReport(files), Console(file=written, width=80))
    table = written.getvalue().split("went into")[0]
    assert all(name in table for name in (*names, "read", "new", "replaced", "unchanged", "quarantined"))
    assert table.count("1,234,567") == 10


def test_the_json_report_is_only_json(files: tuple[str, str]) -> None:
    result = run("--results", files[0], "--json")
    facts = json.loads(result.stdout)
    assert (facts["rows_read"], facts["inserted"], facts["unchanged"], facts["quarantined"]) == (5, 3, 0, 2)
    assert facts["files"][0]["ignored_columns"] == ["colour"]
    again = json.loads(run("--results", files[0], "--json").stdout)
    assert (again["inserted"], again["unchanged"], again["quarantined"]) == (0, 3, 2)


def test_naming_no_file_is_wrong_usage() -> None:
    result = run()
    assert result.exit_code == 2
    assert "--results" in result.output


def test_a_file_that_cannot_be_read_is_an_error(environment: Settings, tmp_path: Path) -> None:
    result = run("--results", str(tmp_path / "absent.csv"))
    assert result.exit_code == 1
    assert isinstance(result.exception, ImportFileError)
