"""`cleverbetter quarantine`: a wrong row is shown, corrected and loaded, once, and nothing is lost."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.services.ingest import quarantine_repair as repairing
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.cli.conftest import Command, command_in
from cleverbetter_dagster_tests.support.upstream_rows import upstream_features, upstream_results

PRECISE = 0.012345678901234567
"""More digits than pandas writes into JSON."""


@pytest.fixture
def command(database: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(database, monkeypatch)


@pytest.fixture
def bad_file(database: Settings, tmp_path: Path) -> Path:
    """r2 has a win rate of 50 and a loss beyond everything, r4 a win rate of -1; r1, r3 and r5 are loaded."""
    file = tmp_path / "results.parquet"
    rows = upstream_results(5).assign(win_rate=[0.5, 50, 0.5, -1, 0.5], sharpe_ratio=PRECISE)
    rows["total_return"] = [0.1, -2.0, 0.1, 0.1, 0.1]
    rows = rows.drop(columns=["initial_capital", "final_capital"])
    rows.to_parquet(file)
    import_files(database, file, None)
    return file


def entries(command: Command, *filters: str) -> list[dict[str, Any]]:
    done = command("quarantine", "list", "--json", *filters)
    assert done.returncode == 0, done
    selected: list[dict[str, Any]] = json.loads(done.stdout)
    return selected


def table(settings: Settings) -> dict[str, tuple[float, float, float]]:
    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        rows = connection.execute("SELECT id, win_rate, total_return, sharpe_ratio FROM backtest_results").fetchall()
    return {row_id: tuple(values) for row_id, *values in rows}  # type: ignore[misc]


def test_entries_are_filtered_and_shown_with_their_rows(bad_file: Path, command: Command) -> None:
    assert len(entries(command)) == 3
    assert [entry["row_id"] for entry in entries(command, "--column", "total_return")] == ["r2"]
    assert len(entries(command, "--row", "r2", "--reason", "WITHIN 0..1", "--source", "results.parquet")) == 1
    assert entries(command, "--reason", "%") == []  # no pattern
    assert entries(command, "--table", "' OR '1'='1") == []
    number = str(entries(command, "--row", "r4")[0]["id"])
    shown = command("quarantine", "show", number)
    assert '"win_rate":-1' in "".join(shown.stdout.split())  # lines are as long as the terminal is wide
    assert command("quarantine", "show", "999").returncode == 4
    assert command("quarantine", "list", "--status", "x").returncode == 2


def test_a_row_is_loaded_once_all_of_it_is_right(bad_file: Path, database: Settings, command: Command) -> None:
    number = str(entries(command, "--row", "r2", "--column", "win_rate")[0]["id"])
    half = command("quarantine", "repair", number, "--set", "win_rate=0.5", "--yes")
    assert half.returncode == 3
    assert "total_return = -2.0" in half.stderr or "total_return = -2" in half.stderr
    assert "r2" not in table(database)
    assert len(entries(command)) == 3
    both = ("quarantine", "repair", number, "--set", "win_rate=0.5", "--set", "total_return=-0.25")
    assert command(*both, answer="n\n").returncode == 3
    done = command(*both, "--yes", "--json")
    assert json.loads(done.stdout) == {"loaded": True, "still_wrong": [], "settled": 2, "months": ["2023-02"]}
    assert table(database)["r2"] == (0.5, -0.25, PRECISE)
    assert [entry["row_id"] for entry in entries(command)] == ["r4"]
    again = command(*both, "--yes")
    assert (again.returncode, "was repaired on" in again.stderr) == (2, True)
    import_files(database, bad_file, None)  # the file is as wrong as before, the correction stands
    assert [entry["row_id"] for entry in entries(command)] == ["r4"]
    settled = entries(command, "--status", "repaired", "--column", "win_rate")[0]
    assert settled["correction"] == {"win_rate": "0.5", "total_return": "-0.25"}


def test_a_row_that_cannot_be_corrected_names_the_remedy(bad_file: Path, database: Settings, command: Command) -> None:
    number = str(entries(command, "--row", "r4")[0]["id"])
    unknown = command("quarantine", "repair", number, "--set", "winrate=0.5", "--yes")
    assert (unknown.returncode, "closest: win_rate" in unknown.stderr) == (2, True)
    assert command("quarantine", "repair", number, "--set", "win_rate", "--yes").returncode == 2
    assert command("quarantine", "repair", "999", "--set", "win_rate=1", "--yes").returncode == 4
    with closing(psycopg_connect(database, "state", autocommit=True)) as connection:
        connection.execute("UPDATE quarantine SET raw = left(raw, 20) WHERE id = %s", [number])
    with pytest.raises(InvalidInput, match="too long to be kept whole"):
        repairing.plan_repair(database, int(number), {"win_rate": "0.5"})


def test_an_existing_id_is_not_overwritten(bad_file: Path, database: Settings, command: Command) -> None:
    number = str(entries(command, "--row", "r4")[0]["id"])
    refused = command("quarantine", "repair", number, "--set", "win_rate=0.25", "--set", "id=r1", "--yes")
    assert (refused.returncode, "nothing is overwritten" in refused.stderr) == (3, True)
    assert table(database)["r1"] == (0.5, 0.1, PRECISE)
    assert len(entries(command)) == 3


def test_retry_loads_only_what_new_rules_allow(
    bad_file: Path, database: Settings, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cleverbetter_dagster.dataset.quality import rules
    from cleverbetter_dagster.dataset.schema import BOUNDS, WIN_RATE, Bounds

    nothing_right = command("quarantine", "retry", "--json")
    assert (nothing_right.returncode, "None of the rows" in nothing_right.stderr) == (3, True)
    first = json.loads(nothing_right.stdout)
    assert (first["rows"], first["loaded"], first["settled"]) == (2, 0, 0)
    assert len(entries(command, "--status", "all")) == 3  # no entry twice
    assert sum(first["still_wrong"].values()) == 2
    monkeypatch.setattr(rules, "BOUNDS", {**BOUNDS, WIN_RATE: Bounds(-1.0, np.inf, "anything")})
    one_right = command("quarantine", "retry", "--json")
    assert one_right.returncode == 0
    second = json.loads(one_right.stdout)
    assert (second["loaded"], second["settled"], second["months"]) == (1, 1, ["2023-04"])
    assert table(database)["r4"] == (-1.0, 0.1, PRECISE)
    third = json.loads(command("quarantine", "retry", "--json").stdout)
    assert (third["rows"], third["loaded"]) == (1, 0)


def test_a_wrong_row_in_the_table_is_corrected_there(database: Settings, command: Command, tmp_path: Path) -> None:
    from cleverbetter_dagster.services.ingest.loading import load_months

    upstream_results(2).to_parquet(tmp_path / "results.parquet")
    upstream_features(2).to_parquet(tmp_path / "features.parquet")
    import_files(database, tmp_path / "results.parquet", tmp_path / "features.parquet")
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        connection.execute("UPDATE backtest_results SET win_rate = 50 WHERE id = 'r2'")
        load_months(database, ["2023-02"])
        number = str(entries(command)[0]["id"])
        refused = command("quarantine", "repair", number, "--set", "win_rate=0.5'; --", "--yes")
        assert refused.returncode == 2
        assert """UPDATE "public"."backtest_results" SET "win_rate" = '0.5''; --' WHERE "id" = 'r2'""" in refused.stderr
        assert json.loads(command("quarantine", "retry", "--json").stdout)["loaded"] == 0
        connection.execute("UPDATE backtest_results SET win_rate = 0.5 WHERE id = 'r2'")
    result = json.loads(command("quarantine", "retry", "--json").stdout)
    assert (result["loaded"], result["settled"], result["months"]) == (1, 1, ["2023-02"])
    assert entries(command) == []


def test_malformed_lines_are_skipped_and_features_repaired(
    database: Settings, command: Command, tmp_path: Path
) -> None:
    results, features = tmp_path / "results.csv", tmp_path / "features.jsonl"
    upstream_results(2).to_csv(results, index=False)
    results.write_text(results.read_text() + "r9,too,short\n")
    features.write_text(
        '{"backtest_result_id": "r1", "features": {"avg_odds": 4.5}}\n'
        '{"backtest_result_id": "r2", "features": {"avg_odds": NaN}}\n'
    )
    import_files(database, results, features)
    result = json.loads(command("quarantine", "retry", "--json").stdout)
    assert result["skipped"] == {repairing.NO_ROW: 1}
    assert result["loaded"] == 0
    number = str(entries(command, "--table", "ml_features")[0]["id"])
    done = command("quarantine", "repair", number, "--set", 'features={"avg_odds": 4.25}', "--yes", "--json")
    assert json.loads(done.stdout)["loaded"] is True, done
    with closing(psycopg_connect(database, "rows")) as connection:
        stored = connection.execute("SELECT features FROM ml_features WHERE backtest_result_id = 'r2'").fetchone()
    assert stored == ({"avg_odds": 4.25},)
