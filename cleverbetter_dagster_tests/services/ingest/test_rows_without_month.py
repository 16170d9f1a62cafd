"""Instants that Python, months or reason cannot hold: the row goes to quarantine, and everything else goes on."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from cleverbetter_dagster.services.ingest.change_detection import all_changes, recent_changes
from cleverbetter_dagster.services.ingest.loading import load_history, load_months, months_with_rows
from cleverbetter_dagster.services.ingest.quarantine_repair import retry
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.quarantine import Entry, Filter, open_quarantine, select_entries
from cleverbetter_dagster.store.source.load_log import record_load
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster.store.summary import summarise_database
from cleverbetter_dagster_tests.cli.conftest import command_in
from cleverbetter_dagster_tests.defs.automation.ticks import insert_rows

INSTANTS = (
    "infinity",
    "-infinity",
    "0001-01-01 00:00:00+00",
    "0044-03-15 12:00:00+00 BC",
    "4714-11-24 00:00:00+00 BC",
    "1969-12-31 23:59:59+00",
    "9999-12-31 23:59:59.999999+00",
    "10000-01-01 00:00:00+00",
    "294276-12-31 23:59:59.999999+00",
    None,
)
ROW = "r-2023-05-2"


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    """Three rows of May 2023, in a table of somebody else whose columns may all be NULL."""
    ensure_source_tables(database)
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        for column in ("created_at", "run_date", "start_date", "end_date"):
            connection.execute(f"ALTER TABLE backtest_results ALTER {column} DROP NOT NULL")
        insert_rows(connection, "2023-05", 3)
        yield connection


def pending(settings: Settings) -> list[Entry]:
    with open_quarantine(settings) as connection:
        return select_entries(connection, Filter())


def load(settings: Settings) -> list[str]:
    """Ids of the rows of May 2023 that a training would read."""
    loaded = load_months(settings, ["2023-05"], catch_up=True)
    record_load(settings, loaded.log, "a run", "2023-05")
    return sorted(str(row) for row in loaded.months["2023-05"].table["id"].to_pylist())


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("column", ["created_at", "run_date", "start_date", "end_date"])
def test_an_odd_instant_costs_only_its_row(
    database: Settings, connection: psycopg.Connection, column: str, instant: str | None
) -> None:
    connection.execute(f"UPDATE backtest_results SET {column} = %s WHERE id = %s", [instant, ROW])
    assert all_changes(database).changed.keys() == {"2023-05"}
    assert months_with_rows(database) == ["2023-05"]
    optional = (column, instant) == ("created_at", None)
    assert load(database) == ["r-2023-05-1", *([ROW] if optional else []), "r-2023-05-3"]
    entries = {(entry.row_id, entry.column_name) for entry in pending(database)}
    assert entries == set() if optional else (ROW, column) in entries
    assert {row for row, _ in entries} <= {ROW}
    assert len(load_history(database)) == (3 if optional else 2)
    recent_changes(database)
    summary = summarise_database(database)
    assert summary is not None and summary.rows is not None and summary.rows.last_end is not None
    # Repaired upstream: settled by the next load, or by a retry.
    connection.execute(
        "UPDATE backtest_results b SET (created_at, run_date, start_date, end_date) = (SELECT created_at, run_date, "
        "start_date, end_date FROM backtest_results WHERE id = 'r-2023-05-1') WHERE id = %s",
        [ROW],
    )
    assert optional or retry(database).settled >= 1
    assert len(load(database)) == 3
    assert pending(database) == []


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize("instant", ["infinity", "0044-03-15 BC", "294276-12-31", None])
def test_every_type_of_instant_is_bounded(
    database: Settings, connection: psycopg.Connection, kind: str, instant: str | None
) -> None:
    for column in ("created_at", "end_date"):
        connection.execute(f"ALTER TABLE backtest_results ALTER {column} TYPE {kind}")
    connection.execute("UPDATE backtest_results SET end_date = %s WHERE id = %s", [instant, ROW])
    connection.execute("UPDATE backtest_results SET created_at = %s WHERE id = 'r-2023-05-1'", [instant])
    changes = all_changes(database)
    assert (changes.changed, changes.without_month) == ({"2023-05": 2}, 1)
    assert "in no plausible month: 1" in str(changes)
    assert "r-2023-05-3" in load(database)
    assert (ROW, "end_date") in [(entry.row_id, entry.column_name) for entry in pending(database)]


def test_dates_beyond_timestamps_are_bounded_too(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute("ALTER TABLE backtest_results ALTER end_date TYPE date")
    connection.execute("UPDATE backtest_results SET end_date = '5874897-12-31' WHERE id = %s", [ROW])
    assert load(database) == ["r-2023-05-1", "r-2023-05-3"]
    assert [entry.value for entry in pending(database)] == ["5874897-12-31"]


def test_an_odd_row_that_is_deleted_upstream_is_settled(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute("UPDATE backtest_results SET end_date = 'infinity' WHERE id = %s", [ROW])
    all_changes(database)
    assert [(entry.value, entry.reason) for entry in pending(database)] == [
        ("infinity", "end_date is in the future: no backtest can know it")
    ]
    connection.execute("DELETE FROM backtest_results WHERE id = %s", [ROW])
    all_changes(database)
    assert pending(database) == []


def test_the_doctor_counts_what_no_month_has(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows(connection, "1995-03", 2)
    connection.execute("UPDATE backtest_results SET end_date = '0001-01-01' WHERE id = %s", [ROW])
    connection.execute("INSERT INTO ml_features VALUES ('r-2023-05-1', 'infinity', '{\"odds\": 2}')")
    text = " ".join(command_in(database, monkeypatch)("doctor").stdout.split())
    assert "1 rows of public.backtest_results are in no month" in text
    assert "cleverbetter quarantine list --column end_date" in text
    assert "2 rows of public.backtest_results end before the first partition, 2015-01" in text
    assert "Set CLEVERBETTER_FIRST_MONTH to an earlier month" in text
    assert "1 rows of public.ml_features have a time that cannot be right" in text
    assert "1995-03" in str(all_changes(database))


@pytest.mark.parametrize("odd", ["infinity", "9999-12-31", "294276-12-31"])
def test_an_impossible_time_makes_no_features_the_newest(
    database: Settings, connection: psycopg.Connection, odd: str
) -> None:
    connection.execute("ALTER TABLE ml_features DROP CONSTRAINT ml_features_pkey")
    for time, value in ((odd, 1), ("2023-06-02", 2), ("2023-06-01", 3), (None, 4), ("-infinity", 5)):
        connection.execute(
            "INSERT INTO ml_features VALUES ('r-2023-05-1', %s, jsonb_build_object('odds', %s::int))", [time, value]
        )
    table = load_months(database, ["2023-05"]).months["2023-05"].table.to_pandas().set_index("id")
    assert table.loc["r-2023-05-1", "ml_odds"] == 2
