"""Rows that vanish from the old end of the table are history that was meant to go; all others were deleted."""

from collections.abc import Iterator

import psycopg
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.services.ingest.change_detection import all_changes
from cleverbetter_dagster.services.ingest.dropped_history import ROWS_ARTEFACT
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.services.stored_assets import stored_rows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.load_log import content_hash, read_load_log, record_load
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.defs.automation.ticks import insert_rows

MONTHS = ["2023-03", "2023-04", "2023-05"]
DROP_MARCH = "DELETE FROM backtest_results WHERE end_date < '2023-04-01'"
DROP_MARCH_AND_HALF_OF_APRIL = f"{DROP_MARCH} OR (end_date < '2023-05-01' AND id LIKE '%-1_')"


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    """Three months of 20 rows, loaded; in each, rows 10 to 19 ran a week before the others."""
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        for month in MONTHS:
            insert_rows(connection, month, 20)
        connection.execute("UPDATE backtest_results SET run_date = run_date - interval '7 days' WHERE id LIKE '%-1_'")
        load(database, MONTHS)
        yield connection


def load(settings: Settings, months: list[str], *, catch_up: bool = False) -> None:
    loads = load_months(settings, months, catch_up=catch_up)
    for month, loaded in loads.months.items():
        ArtefactStore(settings.artefacts_base).write_table(ROWS_ARTEFACT.format(month=month), loaded.table)
    record_load(settings, loads.log, "a run", "2023-05")


def rows(settings: Settings) -> list[int]:
    return [table.num_rows for table in stored_rows(settings, AsOf.parse("2023-05")).values()]


@pytest.mark.parametrize(
    ("drop", "kept"),
    [(DROP_MARCH, ("2023-03",)), (DROP_MARCH_AND_HALF_OF_APRIL, ("2023-03", "2023-04"))],
)
def test_dropped_history_stays_and_asks_for_nothing(
    database: Settings, connection: psycopg.Connection, drop: str, kept: tuple[str, ...]
) -> None:
    trained_on = content_hash(read_load_log(database), "2023-05")
    connection.execute(drop)
    changes = all_changes(database)
    assert (changes.changed, changes.kept) == ({}, kept)
    assert f"dropped rows of them: {', '.join(kept)}" in str(changes)
    load(database, ["2023-05"], catch_up=True)
    load(database, MONTHS)  # as a person may ask
    assert rows(database) == [20, 20, 20]
    assert content_hash(read_load_log(database), "2023-05") == trained_on
    assert all_changes(database).changed == {}


def test_history_may_be_forgotten(database: Settings, connection: psycopg.Connection) -> None:
    forgetful = database.model_copy(update={"dropped_history": "forget"})
    connection.execute(DROP_MARCH)
    assert all_changes(forgetful).changed == {"2023-03": 20}
    load(forgetful, ["2023-05"], catch_up=True)
    assert rows(forgetful) == [0, 20, 20]
    assert all_changes(forgetful).changed == {}


@pytest.mark.parametrize(
    ("delete", "changed", "left"),
    [
        ("DELETE FROM backtest_results WHERE id LIKE 'r-2023-04-%'", {"2023-04": 20}, [20, 0, 20]),
        ("DELETE FROM backtest_results WHERE id LIKE 'r-2023-03-_'", {"2023-03": 9}, [11, 20, 20]),
        (
            "DELETE FROM backtest_results WHERE end_date < '2023-04-01' OR id = 'r-2023-04-5'",
            {"2023-04": 1},
            [20, 19, 20],
        ),
    ],
)
def test_rows_that_vanish_elsewhere_were_deleted(
    database: Settings, connection: psycopg.Connection, delete: str, changed: dict[str, int], left: list[int]
) -> None:
    connection.execute(delete)
    assert all_changes(database).changed == changed
    load(database, ["2023-05"], catch_up=True)
    assert rows(database) == left


def test_a_late_row_joins_what_was_cut_from_its_month(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(DROP_MARCH_AND_HALF_OF_APRIL)
    insert_rows(connection, "2023-04", 2, "late")
    assert all_changes(database).changed.keys() == {"2023-04"}
    load(database, ["2023-05"], catch_up=True)
    assert rows(database) == [20, 22, 20]
    assert all_changes(database).changed == {}


def test_a_table_filled_anew_keeps_nothing(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute("TRUNCATE backtest_results")
    insert_rows(connection, "2023-05", 5, "new")
    assert all_changes(database).changed.keys() == set(MONTHS)
    load(database, ["2023-05"], catch_up=True)
    assert rows(database) == [0, 0, 5]
