"""A glance and the reconciliation, after months were taken: what each finds, and what neither is misled by."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from cleverbetter_dagster.services.ingest import change_detection, loading
from cleverbetter_dagster.services.ingest.change_detection import ROWS_ARTEFACT, glance, reconcile
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.changes import Digest, Look
from cleverbetter_dagster.store.source.load_log import read_taken, record_taken
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.defs.automation.ticks import land


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


def take(settings: Settings, as_of: str = "2023-05") -> None:
    load = load_months(settings, [as_of], catch_up=True)
    for month, loaded in load.months.items():
        ArtefactStore(settings.artefacts_base).write_table(ROWS_ARTEFACT.format(month=month), loaded.table)
    record_taken(settings, load.taken, "a run", as_of)


def stored(settings: Settings, month: str) -> int:
    return ArtefactStore(settings.artefacts_base).read_tables([ROWS_ARTEFACT.format(month=month)]).num_rows


def test_a_row_whose_transaction_was_open_when_its_month_was_taken_is_found_after_it_commits(
    database: Settings, connection: psycopg.Connection
) -> None:
    land(connection, "2023-05", 3, "before")
    with closing(psycopg_connect(database, "rows")) as slow, slow.transaction():
        land(slow, "2023-05", 1, "slow")
        land(connection, "2023-05", 2, "quick")
        take(database)
        assert read_taken(database)["2023-05"].digest.rows == 5
        # The two are past the mark that waits for the slow one, and were taken all the same.
        assert glance(database).changed == {}
    assert glance(database).changed == {"2023-05": 1}
    take(database)
    assert glance(database).changed == {}
    assert reconcile(database).changed == {}


def test_content_is_read_only_of_months_whose_rows_have_other_versions(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in ("2023-03", "2023-04", "2023-05"):
        land(connection, month, 3)
    take(database)
    read: list[list[str] | None] = []
    digests = Look.digests

    def watched(look: Look, months: list[str] | None = None) -> dict[str, Digest]:
        read.append(months)
        return digests(look, months)

    monkeypatch.setattr(Look, "digests", watched)
    assert reconcile(database).changed == {}
    assert read == []
    connection.execute("UPDATE backtest_results SET total_return = total_return WHERE end_date < '2023-04-01'")
    land(connection, "2023-05", 2, "more")
    assert reconcile(database).changed == {"2023-05": 2}
    assert read == [["2023-03", "2023-05"]]
    assert reconcile(database).changed == {"2023-05": 2}
    assert read[1:] == [["2023-05"]]  # March was the same: its new versions are remembered


def test_rows_corrected_in_place_and_late_features_are_counted_row_by_row(
    database: Settings, connection: psycopg.Connection
) -> None:
    for month in ("2023-04", "2023-05"):
        land(connection, month, 30, age=timedelta(days=400))
    take(database)
    connection.execute("UPDATE backtest_results SET total_return = 0.2 WHERE id LIKE 'r-2023-05-1%'")  # 1 and 10 to 19
    assert reconcile(database).changed == {"2023-05": 11}
    connection.execute(
        "INSERT INTO ml_features SELECT id, now(), '{\"a\": 1}' FROM backtest_results WHERE id LIKE '%-2_'"
    )
    assert reconcile(database).changed == {"2023-04": 10, "2023-05": 21}
    connection.execute("DELETE FROM backtest_results WHERE end_date < '2023-05-01' AND id NOT LIKE '%-2_'")
    assert reconcile(database).changed == {"2023-04": 20, "2023-05": 21}
    take(database)
    assert reconcile(database).changed == {}


def test_columns_that_change_places_are_found(database: Settings, connection: psycopg.Connection) -> None:
    land(connection, "2023-05", 3)
    take(database)
    for old, new in (("sharpe_ratio", "other"), ("total_return", "sharpe_ratio"), ("other", "total_return")):
        connection.execute(f"ALTER TABLE backtest_results RENAME {old} TO {new}")
    assert reconcile(database).changed == {"2023-05": 1}


def test_what_an_earlier_release_recorded_is_still_read(database: Settings, connection: psycopg.Connection) -> None:
    land(connection, "2023-05", 3)
    take(database)
    with psycopg_connect(database, "state", autocommit=True) as state:
        state.execute("ALTER TABLE loaded_months DROP COLUMN versions, DROP COLUMN due")
    assert glance(database).changed == {}
    assert reconcile(database).changed == {}
    assert read_taken(database)["2023-05"].versions is not None


def test_a_row_refused_because_it_lies_in_the_future_is_loaded_when_it_is_due(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(connection, "2023-04", 3)
    land(connection, "2023-05", 3)
    connection.execute("UPDATE backtest_results SET run_date = now() + interval '3 days' WHERE id = 'r-2023-05-1'")
    future_and_wrong = "UPDATE backtest_results SET run_date = now() + interval '2 days', win_rate = 7 WHERE id = %s"
    connection.execute(future_and_wrong, ["r-2023-05-2"])
    take(database)
    assert (stored(database, "2023-05"), reconcile(database).changed) == (1, {})
    for days, changed, rows in ((1.9, {}, 1), (2.1, {"2023-05": 1}, 2), (9, {}, 2)):  # run_date has a day of leeway
        later = pd.Timestamp.now(tz="UTC") + pd.Timedelta(days=days)
        for module in (change_detection, loading):
            monkeypatch.setattr(module, "present", lambda later=later: later)
        connection.execute("UPDATE backtest_results SET total_return = total_return")  # none is new by that
        assert reconcile(database).changed == changed
        if changed:
            take(database)
        assert (stored(database, "2023-05"), reconcile(database).changed) == (rows, {})
    assert read_taken(database)["2023-05"].due is None


def test_an_old_row_is_found_by_the_reconciliation_alone(database: Settings, connection: psycopg.Connection) -> None:
    land(connection, "2023-05", 3)
    take(database)
    land(connection, "2023-04", 2, "old", age=timedelta(days=400))
    assert glance(database).changed == {}
    assert reconcile(database).changed == {"2023-04": 2}


def test_a_month_that_lost_all_its_rows_is_loaded_empty(database: Settings, connection: psycopg.Connection) -> None:
    for month in ("2023-04", "2023-05"):
        land(connection, month, 3)
    take(database)
    connection.execute("DELETE FROM backtest_results WHERE end_date < '2023-05-01'")
    assert reconcile(database).changed == {"2023-04": 3}
    take(database)
    assert reconcile(database).changed == {}
    path = ROWS_ARTEFACT.format(month="2023-04")
    assert ArtefactStore(database.artefacts_base).read_tables([path]).num_rows == 0


def test_loaded_rows_that_are_no_longer_stored_are_loaded_again(
    database: Settings, connection: psycopg.Connection
) -> None:
    land(connection, "2023-05", 3)
    take(database)
    (Path(database.artefacts_base) / ROWS_ARTEFACT.format(month="2023-05")).unlink()
    assert reconcile(database).changed == {"2023-05": 3}


def test_marks_of_another_server_are_not_believed(database: Settings, connection: psycopg.Connection) -> None:
    land(connection, "2023-05", 3)
    take(database)
    with psycopg_connect(database, "state", autocommit=True) as state:
        state.execute("UPDATE loaded_months SET identity = 'another', mark = mark + 1000000")
    land(connection, "2023-05", 1, "new")
    found = glance(database)
    assert (found.complete, found.changed) == (True, {"2023-05": 1})
    assert "another one" in found.how


def test_a_database_put_back_to_an_earlier_day_is_compared(database: Settings, connection: psycopg.Connection) -> None:
    land(connection, "2023-05", 3)
    take(database)
    with psycopg_connect(database, "state", autocommit=True) as state:
        state.execute("UPDATE loaded_months SET mark = mark + 1000000")  # transactions that never were
    found = glance(database)
    assert (found.complete, found.changed) == (True, {})
    assert glance(database).complete is False  # confirmed, with marks of this day


def test_a_view_is_watched_by_its_contents(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute("CREATE VIEW results_view AS SELECT * FROM backtest_results")
    viewed = database.model_copy(update={"results_table": "results_view"})
    for month in ("2023-04", "2023-05"):
        land(connection, month, 3)
    take(viewed)
    assert glance(viewed).changed == {}
    land(connection, "2023-04", 2, "more")
    found = glance(viewed)
    assert (found.complete, found.changed) == (False, {"2023-04": 2})
    assert "contents of the months that got rows lately" in found.how
