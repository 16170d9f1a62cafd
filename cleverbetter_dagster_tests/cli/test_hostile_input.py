"""What a person, or a script with somebody else's text in it, may type: it is refused or taken literally, never run."""

import os
from pathlib import Path

import pytest

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.services.ingest.loading import load_history, months_with_rows
from cleverbetter_dagster.services.reports.store import report_path
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.cli.conftest import Command, command_in
from cleverbetter_dagster_tests.support.upstream_rows import upstream_features, upstream_results

RESULTS_TABLE = """odd "name"'; DROP TABLE bystander --"""
FEATURES_TABLE = """%s {} "features\""""


@pytest.fixture
def odd(environment: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, where the tables have names that are SQL."""
    monkeypatch.setenv("CLEVERBETTER_RESULTS_TABLE", RESULTS_TABLE)
    monkeypatch.setenv("CLEVERBETTER_FEATURES_TABLE", FEATURES_TABLE)
    return command_in(environment, monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, where one report is kept and no database is needed."""
    settings = Settings(home=tmp_path / "home", database_url="postgresql://nobody@localhost:1/none")  # type: ignore[arg-type]
    ArtefactStore(settings.artefacts_base).write_text(report_path("ensemble", "2023-10"), "<p>kept</p>")
    (tmp_path / "home" / ".cleverbetter" / "outside").mkdir()
    (tmp_path / "home" / ".cleverbetter" / "outside" / "2023-10.html").write_text("not to be read")
    return command_in(settings, monkeypatch)


def test_table_names_are_names_whatever_is_in_them(odd: Command, tmp_path: Path) -> None:
    settings = load_settings()
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        connection.execute("CREATE TABLE bystander (id int)")
    results, features = tmp_path / "results.csv", tmp_path / "features.parquet"
    upstream_results(5).to_csv(results, index=False)
    upstream_features(5).to_parquet(features)
    for _ in range(2):  # the second time the tables are there
        done = odd("import", "--results", str(results), "--features", str(features))
        assert done.returncode == 0, done.stderr
    assert odd("status").returncode == 0
    assert len(months_with_rows(settings)) >= 1
    assert len(load_history(settings)) == 5
    with pytest.raises(InvalidInput, match="2999-01, which lies in the future"):
        load_history(settings, "2999-01")
    with psycopg_connect(settings, "rows") as connection:
        tables = {name for (name,) in connection.execute("SELECT relname FROM pg_stat_user_tables").fetchall()}
    assert {RESULTS_TABLE, FEATURES_TABLE, "bystander"} <= tables


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl", ".csv.gz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_not_imported(here: Command, tmp_path: Path, ending: str, kind: str) -> None:
    from cleverbetter_dagster.errors import ImportFileError
    from cleverbetter_dagster.store.imports.readers.opening import open_rows

    path = tmp_path / f"rows{ending}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(ImportFileError, match=r"no regular file|no file that ends in \.parquet"):
        open_rows(path)


@pytest.mark.parametrize("output", ["", "file/below", "x" * 300])
def test_a_report_that_cannot_be_written_is_one_clear_error(here: Command, tmp_path: Path, output: str) -> None:
    (tmp_path / "file").write_text("in the way")
    done = here("report", "--output", f"{tmp_path}/{output}")
    assert done.returncode == 1
    assert "Name a file in a folder of yours" in done.stderr
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--kind", "../../outside"),
        ("--kind", "/etc"),
        ("--family", "../ensemble"),
        ("--as-of", "../../../outside/2023-10"),
        ("--as-of", "2023-10\0"),
    ],
)
def test_a_report_is_only_ever_one_of_ours(here: Command, tmp_path: Path, arguments: tuple[str, str]) -> None:
    target = tmp_path / "out.html"
    done = here("report", *arguments, "--output", str(target))
    assert done.returncode in (1, 2, 4)
    assert done.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "../ensemble"),
        ("evaluate", "ensemble", "--as-of", "../../outside/2023-10"),
        ("compare", "--as-of", "../ensemble_model/2023-10"),
        ("predict", "--as-of", "2023-10'; DROP TABLE predictions --"),
        ("backfill", "--from", "2023-10", "--to", "2023-10", "--family", "../ensemble"),
        ("train", "../ensemble"),
        ("train", "ensemble", "--as-of", "../2023-10"),
        ("train", "ensemble", "--set", "../x=1"),
        ("train", "ensemble", "--set", 'params={"../x": 1}'),
    ],
)
def test_arguments_are_checked_before_they_become_paths_or_sql(here: Command, arguments: tuple[str, ...]) -> None:
    done = here(*arguments)
    assert done.returncode in (1, 2, 4)  # not 5: no database was asked
    assert done.stderr
