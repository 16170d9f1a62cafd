"""`recent_changes` and `all_changes` after months were loaded: what each finds, and what misleads neither."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from psycopg.types.json import Jsonb

from cleverbetter_dagster.services.ingest import change_detection, loading
from cleverbetter_dagster.services.ingest.change_detection import all_changes, recent_changes
from cleverbetter_dagster.services.ingest.dropped_history import ROWS_ARTEFACT
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.changes import Digest, TableSnapshot
from cleverbetter_dagster.store.source.load_log import read_load_log, record_load
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.defs.automation.ticks import insert_rows
from cleverbetter_dagster_tests.store.source.test_table_state import CATALOGUE

FUTURE_XID = 10**9
"""A transaction id that no test reaches."""


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


def load(settings: Settings, as_of: str = "2023-05") -> None:
    loads = load_months(settings, [as_of], catch_up=True)
    for month, loaded in loads.months.items():
        ArtefactStore(settings.artefacts_base).write_table(ROWS_ARTEFACT.format(month=month), loaded.table)
    record_load(settings, loads.log, "a run", as_of)


def change_loaded(state: psycopg.Connection, **values: object) -> None:
    """Overwrite what the load log says of every month."""
    state.execute("UPDATE load_log SET loaded = loaded || %s", [Jsonb(values)])


def stored(settings: Settings, month: str) -> int:
    return ArtefactStore(settings.artefacts_base).read_tables([ROWS_ARTEFACT.format(month=month)]).num_rows


def test_a_row_committed_after_its_month_was_loaded_is_found(
    database: Settings, connection: psycopg.Connection
) -> None:
    insert_rows(connection, "2023-05", 3, "before")
    with closing(psycopg_connect(database, "rows")) as slow, slow.transaction():
        insert_rows(slow, "2023-05", 1, "slow")
        insert_rows(connection, "2023-05", 2, "quick")
        load(database)
        assert read_load_log(database)["2023-05"].digest.rows == 5
        # The two are above the watermark, because `slow` is still running, and were loaded all the same.
        assert recent_changes(database).changed == {}
    assert recent_changes(database).changed == {"2023-05": 1}
    load(database)
    assert recent_changes(database).changed == {}
    assert all_changes(database).changed == {}


def test_content_is_read_only_where_versions_differ(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in ("2023-03", "2023-04", "2023-05"):
        insert_rows(connection, month, 3)
    load(database)
    read: list[list[str] | None] = []
    digests = TableSnapshot.digests

    def recorded(snapshot: TableSnapshot, months: list[str] | None = None) -> dict[str, Digest]:
        read.append(months)
        return digests(snapshot, months)

    monkeypatch.setattr(TableSnapshot, "digests", recorded)
    assert all_changes(database).changed == {}
    assert read == []
    connection.execute("UPDATE backtest_results SET total_return = total_return WHERE end_date < '2023-04-01'")
    insert_rows(connection, "2023-05", 2, "more")
    assert all_changes(database).changed == {"2023-05": 2}
    assert read == [["2023-03", "2023-05"]]
    assert all_changes(database).changed == {"2023-05": 2}
    assert read[1:] == [["2023-05"]]  # March was equal: its new versions are recorded


def test_only_months_with_arrivals_are_compared(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since the last comparison, unless a row was changed or deleted."""
    for month in ("2023-03", "2023-04", "2023-05"):
        insert_rows(connection, month, 3)
    load(database)
    assert all_changes(database).changed == {}
    compared: list[list[str] | None] = []
    versions = TableSnapshot.versions

    def recorded(snapshot: TableSnapshot, months: list[str] | None = None) -> dict[str, str] | None:
        compared.append(months)
        return versions(snapshot, months)

    monkeypatch.setattr(TableSnapshot, "versions", recorded)
    assert all_changes(database).changed == {}
    assert compared == []
    insert_rows(connection, "2023-04", 2, "more", age=timedelta(days=400))
    insert_rows(connection, "2023-02", 2, "more")
    for _ in range(2):
        assert all_changes(database).changed == {"2023-02": 2, "2023-04": 2}
    assert compared == [["2023-02", "2023-04"]] * 2
    load(database)
    connection.execute("DELETE FROM backtest_results WHERE id = 'r-2023-05-1'")
    assert all_changes(database).changed == {"2023-05": 1}
    assert compared[2:] == [["2023-02", "2023-04"], None]


def test_a_comparison_forgets_no_row_in_flight(database: Settings, connection: psycopg.Connection) -> None:
    """A row above the watermark that is deleted before the next comparison leaves no trace below it."""
    insert_rows(connection, "2023-04", 3)
    insert_rows(connection, "2023-05", 3)
    with closing(psycopg_connect(database, "rows")) as slow:
        slow.execute("CREATE TEMP TABLE t (n int)")
        insert_rows(connection, "2023-05", 1, "flying")
        load(database)
        assert all_changes(database).changed == {}
        slow.rollback()
    connection.execute("DELETE FROM backtest_results WHERE id LIKE 'flying%'")
    assert all_changes(database).changed == {"2023-05": 1}


def test_a_look_compares_all_once_a_chunk_was_compressed(database: Settings, connection: psycopg.Connection) -> None:
    if connection.execute("SELECT to_regclass('_timescaledb_catalog.chunk') IS NOT NULL").fetchone() == (True,):
        pytest.skip("this server has a catalogue of its own")
    insert_rows(connection, "2023-04", 3)
    insert_rows(connection, "2023-05", 3)
    load(database)
    assert all_changes(database).changed == {}
    connection.execute(CATALOGUE)
    for statement in (
        "SELECT 1",
        "UPDATE _timescaledb_catalog.chunk SET status = 9",
        "UPDATE _timescaledb_internal.compress_hyper_2_9_chunk SET batch = batch",
    ):
        connection.execute(statement.encode())
        changes = recent_changes(database)
        assert (changes.complete, changes.changed) == (True, {})
        assert "rows were compressed, or written to compressed chunks" in changes.compared
        assert recent_changes(database).complete is False
    insert_rows(connection, "2023-05", 2, "more")
    assert recent_changes(database).changed == {"2023-05": 2}


def test_corrected_rows_and_late_features_are_counted_by_row(
    database: Settings, connection: psycopg.Connection
) -> None:
    for month in ("2023-04", "2023-05"):
        insert_rows(connection, month, 30, age=timedelta(days=400))
    load(database)
    connection.execute("UPDATE backtest_results SET total_return = 0.2 WHERE id LIKE 'r-2023-05-1%'")  # 1 and 10 to 19
    assert all_changes(database).changed == {"2023-05": 11}
    connection.execute(
        "INSERT INTO ml_features SELECT id, now(), '{\"a\": 1}' FROM backtest_results WHERE id LIKE '%-2_'"
    )
    assert all_changes(database).changed == {"2023-04": 10, "2023-05": 21}
    connection.execute("DELETE FROM backtest_results WHERE end_date < '2023-05-01' AND id NOT LIKE '%-2_'")
    assert all_changes(database).changed == {"2023-04": 20, "2023-05": 21}
    load(database)
    assert all_changes(database).changed == {}


def test_swapped_columns_are_found(database: Settings, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 3)
    load(database)
    for old, new in (("sharpe_ratio", "other"), ("total_return", "sharpe_ratio"), ("other", "total_return")):
        connection.execute(f"ALTER TABLE backtest_results RENAME {old} TO {new}")
    assert all_changes(database).changed == {"2023-05": 1}


def test_tables_of_an_earlier_version_are_left_alone(database: Settings, connection: psycopg.Connection) -> None:
    """Commit 14a9f62 kept its load log in `loaded_months` and `takings`. Losing it costs one full comparison."""
    insert_rows(connection, "2023-05", 3)
    with psycopg_connect(database, "state", autocommit=True) as state:
        state.execute("CREATE TABLE loaded_months AS SELECT '2023-05' AS month, 3::bigint AS rows, 5::bigint AS mark")
        state.execute("CREATE TABLE takings AS SELECT 1 AS id, 'a run' AS run_id, '2023-05' AS as_of")
        assert recent_changes(database).changed == {"2023-05": 3}
        load(database)
        assert all_changes(database).changed == {}
        assert state.execute("SELECT rows, mark FROM loaded_months").fetchall() == [(3, 5)]
        assert state.execute("SELECT count(*) FROM takings").fetchall() == [(1,)]


def test_a_row_of_the_future_is_loaded_when_due(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows(connection, "2023-04", 3)
    insert_rows(connection, "2023-05", 3)
    connection.execute("UPDATE backtest_results SET run_date = now() + interval '3 days' WHERE id = 'r-2023-05-1'")
    future_and_wrong = "UPDATE backtest_results SET run_date = now() + interval '2 days', win_rate = 7 WHERE id = %s"
    connection.execute(future_and_wrong, ["r-2023-05-2"])
    load(database)
    assert (stored(database, "2023-05"), all_changes(database).changed) == (1, {})
    for days, changed, rows in ((1.9, {}, 1), (2.1, {"2023-05": 1}, 2), (9, {}, 2)):  # run_date has a day of leeway
        later = pd.Timestamp.now(tz="UTC") + pd.Timedelta(days=days)
        for module in (change_detection, loading):
            monkeypatch.setattr(module, "utc_now", lambda later=later: later)
        connection.execute("UPDATE backtest_results SET total_return = total_return")  # changes nothing
        assert all_changes(database).changed == changed
        if changed:
            load(database)
        assert (stored(database, "2023-05"), all_changes(database).changed) == (rows, {})
    assert read_load_log(database)["2023-05"].due is None


def test_only_all_changes_finds_an_old_row(database: Settings, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 3)
    load(database)
    insert_rows(connection, "2023-04", 2, "old", age=timedelta(days=400))
    assert recent_changes(database).changed == {}
    assert all_changes(database).changed == {"2023-04": 2}


def test_rows_lost_from_the_artefact_store_are_loaded_again(database: Settings, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 3)
    load(database)
    (Path(database.artefacts_base) / ROWS_ARTEFACT.format(month="2023-05")).unlink()
    assert all_changes(database).changed == {"2023-05": 3}


def test_watermarks_of_another_server_are_not_used(database: Settings, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 3)
    load(database)
    with psycopg_connect(database, "state", autocommit=True) as state:
        change_loaded(state, identity="another", xmin_watermark=FUTURE_XID)
    insert_rows(connection, "2023-05", 1, "new")
    changes = recent_changes(database)
    assert (changes.complete, changes.changed) == (True, {"2023-05": 1})
    assert "the server or a table is not the one they were loaded from" in changes.compared


def test_a_database_restored_to_an_earlier_day_is_compared(database: Settings, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 3)
    load(database)
    with psycopg_connect(database, "state", autocommit=True) as state:
        change_loaded(state, xmin_watermark=FUTURE_XID)
    changes = recent_changes(database)
    assert (changes.complete, changes.changed) == (True, {})
    assert recent_changes(database).complete is False  # confirmed, with watermarks of this day


def test_changes_in_a_view_are_found_by_content(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute("CREATE VIEW results_view AS SELECT * FROM backtest_results")
    viewed = database.model_copy(update={"results_table": "results_view"})
    for month in ("2023-04", "2023-05"):
        insert_rows(connection, month, 3)
    load(viewed)
    assert recent_changes(viewed).changed == {}
    insert_rows(connection, "2023-04", 2, "more")
    changes = recent_changes(viewed)
    assert (changes.complete, changes.changed) == (False, {"2023-04": 2})
    assert "contents of the months that got rows lately" in changes.compared


def test_other_categories_load_every_month_again(database: Settings, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 3, "r")
    load(database)
    assert all_changes(database).changed == {}
    categories = database.model_copy(update={"categorical_features": ("country",)})
    assert all_changes(categories).changed == {"2023-05": 3}
    load(categories)
    assert all_changes(categories).changed == {}
    assert all_changes(categories).changed == {}  # what a comparison records keeps the categories
