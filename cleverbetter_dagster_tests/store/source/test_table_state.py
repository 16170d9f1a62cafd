"""States of the tables: what tells that nothing happened, that rows only arrived, or that anything else did."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.changes import open_snapshot
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.table_state import Comparison, TableState
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.store.source.test_changes import FEBRUARY, feature, insert

CATALOGUE = """
CREATE SCHEMA _timescaledb_catalog;
CREATE SCHEMA _timescaledb_internal;
CREATE TABLE _timescaledb_catalog.hypertable (id int, schema_name name, table_name name);
CREATE TABLE _timescaledb_catalog.chunk (
    id int, hypertable_id int, schema_name name, table_name name, compressed_chunk_id int, status int);
CREATE TABLE _timescaledb_internal.compress_hyper_2_9_chunk (batch int);
INSERT INTO _timescaledb_catalog.hypertable VALUES (1, 'public', 'backtest_results'), (2, '_timescaledb_internal', 'c');
INSERT INTO _timescaledb_catalog.chunk VALUES (8, 1, '_timescaledb_internal', '_hyper_1_8_chunk', 9, 1),
    (9, 2, '_timescaledb_internal', 'compress_hyper_2_9_chunk', NULL, 0);
INSERT INTO _timescaledb_internal.compress_hyper_2_9_chunk VALUES (1), (2)"""
"""What TimescaleDB keeps of a compressed chunk, under its names. Its free build compresses nothing."""


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        for row in ("r1", "r2", "r3"):
            insert(connection, row)
        feature(connection, "r1", 1.0)
        yield connection


@pytest.fixture
def compressed(connection: psycopg.Connection, with_timescaledb: bool) -> psycopg.Connection:
    if with_timescaledb:
        pytest.skip("this server has a catalogue of its own")
    connection.execute(CATALOGUE)
    return connection


def compare(settings: Settings, before: TableState | None = None, role: str | None = None) -> Comparison | None:
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        if role:
            snapshot.session._connection.cursor().execute(f"SET LOCAL ROLE {role}")
        return snapshot.compare(before)


def state(settings: Settings) -> TableState:
    comparison = compare(settings)
    assert comparison is not None
    assert comparison.arrived is None  # there is nothing to compare with
    return comparison.state


def arrived(settings: Settings, before: TableState) -> set[str] | None:
    comparison = compare(settings, before)
    assert comparison is not None
    return None if comparison.arrived is None else set(comparison.arrived)


def test_nothing_happened(database: Settings, connection: psycopg.Connection) -> None:
    before = state(database)
    connection.execute("VACUUM FULL backtest_results")
    assert arrived(database, before) == set()


def test_months_of_rows_and_features_that_arrive_are_told(database: Settings, connection: psycopg.Connection) -> None:
    before = state(database)
    insert(connection, "r4", FEBRUARY)
    assert arrived(database, before) == {"2023-02"}
    feature(connection, "r2", 2.0)
    assert arrived(database, before) == {"2023-01", "2023-02"}
    feature(connection, "nobody", 2.0)
    assert arrived(database, state(database)) == set()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE backtest_results SET total_return = 0.126 WHERE id = 'r1'",
        "DELETE FROM backtest_results WHERE id = 'r2'",
        "DELETE FROM ml_features",
        "TRUNCATE backtest_results",
        "ALTER TABLE backtest_results ADD COLUMN note text",
    ],
)
def test_other_changes_are_no_arrivals(database: Settings, connection: psycopg.Connection, change: str) -> None:
    before = state(database)
    connection.execute(change.encode())
    assert arrived(database, before) is None


def test_rows_in_flight_are_named_by_month(database: Settings, connection: psycopg.Connection) -> None:
    with closing(psycopg_connect(database, "rows")) as slow:
        slow.execute("CREATE TEMP TABLE t (n int)")
        insert(connection, "r4", FEBRUARY)  # visible, and at or above the watermark
        before = state(database)
        assert before.in_flight == ("2023-02",)
        slow.commit()
    assert state(database).in_flight == ()
    assert arrived(database, before) == {"2023-02"}


VIEW = "CREATE OR REPLACE VIEW seen AS SELECT * FROM backtest_results"


def test_a_view_is_told_by_its_tables(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(VIEW.encode())
    viewed = database.model_copy(update={"results_table": "seen"})
    before = state(viewed)
    assert arrived(viewed, before) == set()
    connection.execute(f"{VIEW} WHERE total_bets > 0".encode())
    assert arrived(viewed, before) is None
    before = state(viewed)
    insert(connection, "r4")
    assert arrived(viewed, before) is None  # a view does not tell which of its rows are new


@pytest.mark.parametrize(
    "condition", ["created_at > now() - interval '1 day'", "created_at::date < current_date + 1", "method <> user"]
)
def test_a_view_that_changes_by_itself_is_not_told(
    database: Settings, connection: psycopg.Connection, condition: str
) -> None:
    connection.execute(f"{VIEW} WHERE {condition}".encode())
    assert compare(database.model_copy(update={"results_table": "seen"})) is None


def test_a_view_of_unreadable_tables_has_no_state(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(VIEW.encode())
    connection.execute("CREATE ROLE viewer; GRANT SELECT ON seen, ml_features TO viewer")
    viewed = database.model_copy(update={"results_table": "seen"})
    try:
        assert compare(viewed, role="viewer") is None
        connection.execute("GRANT SELECT ON backtest_results TO viewer")
        assert compare(viewed, role="viewer") is not None
    finally:
        connection.execute("DROP OWNED BY viewer; DROP ROLE viewer")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE _timescaledb_catalog.chunk SET status = 9 WHERE id = 8",
        "UPDATE _timescaledb_internal.compress_hyper_2_9_chunk SET batch = 3 WHERE batch = 2",
        "DELETE FROM _timescaledb_internal.compress_hyper_2_9_chunk WHERE batch = 2",
        "UPDATE _timescaledb_catalog.chunk SET compressed_chunk_id = NULL WHERE id = 8",
    ],
)
def test_a_compressed_chunk_is_told_by_the_catalogue(
    database: Settings, compressed: psycopg.Connection, change: str
) -> None:
    before = state(database)
    assert [(label, batches) for label, batches, _ in before.chunks] == [("8 1", 2)]
    assert arrived(database, before) == set()
    insert(compressed, "r4", FEBRUARY)
    assert arrived(database, before) == {"2023-02"}
    compressed.execute(change.encode())
    assert arrived(database, before) is None


def test_compressed_chunks_that_may_not_be_read_are_not_told(
    database: Settings, compressed: psycopg.Connection
) -> None:
    compressed.execute("CREATE ROLE reader; GRANT SELECT ON backtest_results, ml_features TO reader")
    compressed.execute("GRANT USAGE ON SCHEMA _timescaledb_catalog, _timescaledb_internal TO reader")
    compressed.execute("GRANT SELECT ON ALL TABLES IN SCHEMA _timescaledb_catalog TO reader")
    try:
        assert compare(database, role="reader") is None
        compressed.execute("GRANT SELECT ON _timescaledb_internal.compress_hyper_2_9_chunk TO reader")
        assert compare(database, role="reader") is not None
    finally:
        compressed.execute("DROP OWNED BY reader; DROP ROLE reader")
