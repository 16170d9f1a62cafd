"""`cleverbetter import`, as a person meets it."""

import json
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from cleverbetter_dagster.cli.output import exit_code
from cleverbetter_dagster.cli.rows.import_rows import import_rows, show_import
from cleverbetter_dagster.dataset.quality.left_out import NOTHING
from cleverbetter_dagster.errors import ImportFileError, InvalidRequest, RowsRefused
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import FileReport, ImportReport
from cleverbetter_dagster.store.imports.mapping.loading import load_mapping, load_preset, preset_names
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
    files = tuple(FileReport(name, "public.x", rows, rows, rows, rows, rows, {}, (), NOTHING, 0.5) for name in names)
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


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("which", ["results", "features"])
def test_a_file_without_a_row_to_load_is_refused(
    environment: Settings, tmp_path: Path, options: tuple[str, ...], which: str
) -> None:
    path = tmp_path / "bad.csv"
    wrong = (
        upstream_results(2).assign(win_rate=50.0) if which == "results" else upstream_features(2).assign(features="x")
    )
    wrong.to_csv(path, index=False)
    result = run(f"--{which}", str(path), *options)
    assert result.exit_code == 3
    assert "No row of bad.csv was loaded" in result.stderr
    assert not options or json.loads(result.stdout)["quarantined"] == 2


def test_a_file_without_rows_is_done(environment: Settings, tmp_path: Path) -> None:
    upstream_results(0).to_csv(tmp_path / "empty.csv", index=False)
    assert run("--results", str(tmp_path / "empty.csv")).exit_code == 0


def test_a_file_in_per_cent_is_refused_or_converted(environment: Settings, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    upstream_results(5).assign(total_return=1.25, win_rate=37.5).to_csv(path, index=False)
    refused = run("--results", str(path))
    assert isinstance(refused.exception, RowsRefused)
    assert exit_code(refused.exception) == 3
    assert run("--results", str(path), "--percent-column", "sharpe_ratio").exit_code == 2
    converted = run("--results", str(path), "--percent-column", "total_return", "--percent-column", "win_rate")
    assert converted.exit_code == 0
    assert "converted to its units: total_return, win_rate" in " ".join(converted.stdout.split())


def test_features_that_are_texts_are_named_at_once(environment: Settings, tmp_path: Path) -> None:
    path = tmp_path / "features.csv"
    upstream_features(2).assign(features='{"odds": 2, "country": "AU"}').to_csv(path, index=False)
    result = run("--features", str(path))
    assert "features.csv that are no numbers, so not used: country (2, such as 'AU')" in result.stdout
    facts = json.loads(run("--features", str(path), "--json").stdout)
    assert facts["files"][0]["left_out"] == {"country": {"values": 2, "example": "AU"}}


def test_naming_no_file_is_wrong_usage() -> None:
    result = run()
    assert result.exit_code == 2
    assert "--results" in result.output


def test_a_file_that_cannot_be_read_is_an_error(environment: Settings, tmp_path: Path) -> None:
    result = run("--results", str(tmp_path / "absent.csv"))
    assert result.exit_code == 1
    assert isinstance(result.exception, ImportFileError)


def test_a_preset_can_be_printed_and_used_as_a_mapping(environment: Settings, tmp_path: Path) -> None:
    shown = run("--show-preset", "freqtrade")
    (path := tmp_path / "mapping.toml").write_text(shown.stdout)
    assert load_mapping(path) == load_preset("freqtrade")


def test_the_help_names_every_preset() -> None:
    help_text = " ".join(run("--help").stdout.replace("│", " ").split())
    assert all(name in help_text for name in preset_names())


def test_a_value_for_all_rows_fills_a_missing_column(environment: Settings, tmp_path: Path) -> None:
    upstream_results(2).drop(columns=["strategy_id", "method"]).to_csv(path := tmp_path / "r.csv", index=False)
    result = run("--results", str(path), "--set", "strategy_id=mine", "--set", "method=", "--json")
    assert json.loads(result.stdout)["inserted"] == 2


def test_a_value_for_an_unknown_column_is_wrong_usage(environment: Settings, files: tuple[str, str]) -> None:
    result = run("--results", files[0], "--set", "strategy=mine")
    assert isinstance(result.exception, InvalidRequest)
    assert "closest: strategy_id" in str(result.exception)


def test_several_files_of_rows_are_imported_together(environment: Settings, tmp_path: Path) -> None:
    upstream_results(1).to_csv(first := tmp_path / "a.csv", index=False)
    upstream_results(2).to_csv(second := tmp_path / "b.csv", index=False)
    facts = json.loads(run("--results", str(first), "--results", str(second), "--json").stdout)
    assert (facts["rows_read"], facts["inserted"], facts["unchanged"]) == (3, 2, 1)


def test_a_preset_beside_a_mapping_is_wrong_usage(files: tuple[str, str]) -> None:
    assert run("--results", files[0], "--preset", "freqtrade", "--mapping", "m.toml").exit_code == 2
