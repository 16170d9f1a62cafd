"""Columns that do not occur in the first rows of a file."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.support.upstream_rows import upstream_results


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 600)  # several blocks, as a long file has


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_late_key_becomes_a_feature(database: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"backtest_result_id": f"r{n}", "avg_odds": n} for n in range(200)]
    path = write_lines(tmp_path / "f.jsonl", [*rows[:-1], rows[-1] | {"new_signal": 7.5}])
    report = import_files(database, None, path).files[0]
    assert (report.inserted, report.ignored_columns) == (200, ())
    stored = connection.execute("SELECT features FROM ml_features WHERE features ? 'new_signal'").fetchall()
    assert stored == [({"avg_odds": 199, "new_signal": 7.5},)]


def test_late_columns_of_results_are_loaded_or_named(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rows = json.loads(upstream_results(20).drop(columns="recommendation").to_json(orient="records", date_format="iso"))
    path = write_lines(tmp_path / "r.jsonl", [*rows[:-1], rows[-1] | {"recommendation": "ACCEPT", "colour": "red"}])
    report = import_files(database, path, None).files[0]
    assert (report.inserted, report.ignored_columns) == (20, ("colour",))
    stored = connection.execute("SELECT id, recommendation FROM backtest_results WHERE recommendation IS NOT NULL")
    assert stored.fetchall() == [("r20", "ACCEPT")]


def test_keys_without_a_column_of_their_own_are_named(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    connection.execute("CREATE TABLE ml_features (result_id text PRIMARY KEY, avg_odds float8)")
    rows: list[dict[str, object]] = [{"id": f"r{n}", "features": {"avg_odds": n}} for n in range(100)]
    rows[-1]["features"] = {"avg_odds": 99, "spread": 0.5}
    report = import_files(database, None, write_lines(tmp_path / "f.jsonl", rows)).files[0]
    assert (report.inserted, report.ignored_columns) == (100, ("spread",))
    wide: list[dict[str, object]] = [{"id": f"w{n}", "avg_odds": n, "spread": 0.5} for n in range(3)]
    assert import_files(database, None, write_lines(tmp_path / "w.jsonl", wide)).files[0].ignored_columns == ("spread",)


def test_a_text_among_json_features_is_kept(database: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": f"r{n}", "features": {"avg_odds": n, "country": "AU"}} for n in range(3)]
    assert import_files(database, None, write_lines(tmp_path / "f.jsonl", rows)).files[0].inserted == 3
    stored = connection.execute("SELECT features FROM ml_features WHERE backtest_result_id = 'r2'").fetchone()
    assert stored == ({"avg_odds": 2, "country": "AU"},)
