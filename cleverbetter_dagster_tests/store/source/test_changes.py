"""Snapshots of the tables: no later commit is below the watermark, and digests show every difference."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing

import pandas as pd
import psycopg
import pytest
from psycopg import sql

from cleverbetter_dagster.errors import DatabaseError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source import change_query
from cleverbetter_dagster.store.source.changes import (
    MAX_XID_DISTANCE,
    Digest,
    InFlightRows,
    SnapshotId,
    TableSnapshot,
    open_snapshot,
)
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_rows
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster.store.source.tables import ensure_source_tables

INSERT = """
INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio,
    max_drawdown, total_bets, win_rate, profit_factor, method, composite_score, created_at)
VALUES (%s, 's1', '2023-06-01', '2023-01-01', %s, 0.125, 1.5, 0.25, 40, 0.375, 1.2, 'replay', 0.5,
    coalesce(%s, now()))"""
JANUARY, FEBRUARY = "2023-02-01T12:59:59Z", "2023-02-01T13:00:00Z"
DAYS = 7


@pytest.fixture
def connection(database: Settings, with_timescaledb: bool) -> Iterator[psycopg.Connection]:
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        if with_timescaledb:  # the writer of a chunk's first row blocks all others until its commit
            insert(connection, "r1")
            connection.execute("DELETE FROM backtest_results")
        yield connection


def insert(connection: psycopg.Connection, row: str, end: str = JANUARY, created: str | None = None) -> None:
    connection.execute(INSERT, [row, end, created])


def feature(connection: psycopg.Connection, row: str, value: float) -> None:
    connection.execute(
        """INSERT INTO ml_features VALUES (%s, '2023-06-01', jsonb_build_object('a', %s::float8))
           ON CONFLICT (backtest_result_id) DO UPDATE SET features = excluded.features""",
        [row, value],
    )


def digests(settings: Settings, months: list[str] | None = None) -> dict[str, Digest]:
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        return snapshot.digests(months)


def seen(settings: Settings) -> tuple[int, dict[str, InFlightRows]]:
    """The watermark of a snapshot, and the rows at or above it."""
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        return snapshot.id.xmin, snapshot.recent({}, snapshot.id.xmin, DAYS) or {}


def since(settings: Settings, watermark: int) -> dict[str, InFlightRows]:
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        return snapshot.recent({}, watermark, DAYS) or {}


def become(snapshot: TableSnapshot, role: str) -> None:
    snapshot.session._connection.cursor().execute(f"SET LOCAL ROLE {role}")


def versions(settings: Settings, months: list[str] | None = None) -> dict[str, str]:
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        hashes = snapshot.versions(months)
    assert hashes is not None
    return hashes


def rows(counted: dict[str, InFlightRows]) -> dict[str, int]:
    return {month: recent.rows for month, recent in counted.items()}


def test_a_digest_counts_the_rows_of_its_month(database: Settings, connection: psycopg.Connection) -> None:
    for row, end in (("r1", JANUARY), ("r2", JANUARY), ("r3", FEBRUARY)):
        insert(connection, row, end)
    every = digests(database)
    assert {month: digest.rows for month, digest in every.items()} == {"2023-01": 2, "2023-02": 1}
    assert digests(database, ["2023-02", "2023-03"]) == {"2023-02": every["2023-02"]}
    assert digests(database, ["2023-01", "2022-11", "2023-02"]) == every
    assert versions(database, ["2023-02", "2023-03"]) == {"2023-02": versions(database)["2023-02"]}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE backtest_results SET total_return = 0.126 WHERE id = 'r1'",
        "UPDATE backtest_results SET strategy_id = 's2' WHERE id = 'r1'",
        "DELETE FROM backtest_results WHERE id = 'r1'",
        "UPDATE ml_features SET features = '{\"a\": 2}' WHERE backtest_result_id = 'r1'",
        "DELETE FROM ml_features WHERE backtest_result_id = 'r1'",
        "INSERT INTO ml_features VALUES ('r2', now(), '{\"a\": 1}')",
        "UPDATE backtest_results SET ml_features = '{\"b\": 1}' WHERE id = 'r2'",
        "UPDATE ml_features SET backtest_result_id = 'r2' WHERE backtest_result_id = 'r1'",
    ],
)
def test_digests_and_versions_show_every_change(
    database: Settings, connection: psycopg.Connection, change: str
) -> None:
    with connection.transaction():  # so that one transaction id is on all of it
        insert(connection, "r1")
        insert(connection, "r2")
        insert(connection, "r3", FEBRUARY)
        feature(connection, "r1", 1.0)
    before, versions_before = digests(database), versions(database)
    connection.execute(change)
    assert digests(database) != before
    versions_after = versions(database)
    assert versions_after["2023-01"] != versions_before["2023-01"]
    assert versions_after["2023-02"] == versions_before["2023-02"]


CHANGES = (
    "INSERT INTO ml_features SELECT id, now(), '{\"a\": 1}' FROM backtest_results WHERE random() < 0.5 "
    "ON CONFLICT DO NOTHING",
    "DELETE FROM ml_features WHERE random() < 0.3",
    "UPDATE ml_features SET features = jsonb_build_object('a', random()) WHERE random() < 0.3",
    "UPDATE backtest_results SET total_return = random() WHERE random() < 0.3",
    "UPDATE backtest_results SET end_date = CASE WHEN random() < 0.5 THEN '2023-01-31' ELSE '2023-02-02' END::date "
    "WHERE random() < 0.3",
    "DELETE FROM backtest_results WHERE random() < 0.2",
)


def test_months_of_the_same_versions_have_the_same_content(database: Settings, connection: psycopg.Connection) -> None:
    """Whatever happens in whichever transactions. This is why content need not be read again."""
    chance, known, repeated = random.Random(5), dict[tuple[str, str], Digest](), 0
    connection.execute("SELECT setseed(0.5)")
    layout = resolve_source(database)
    for number in range(60):
        with connection.transaction():
            for part in range(chance.randint(1, 3)):
                with connection.transaction(force_rollback=chance.random() < 0.3):
                    insert(connection, f"r{number}-{part}", chance.choice([JANUARY, FEBRUARY]))
                    connection.execute(chance.choice(CHANGES))
        if chance.random() < 0.2:
            connection.execute("VACUUM FULL ml_features" if chance.random() < 0.5 else "VACUUM backtest_results")
        with open_snapshot(database, layout) as snapshot:
            contents, hashes = snapshot.digests(), snapshot.versions()
        assert hashes is not None
        assert hashes.keys() == contents.keys()
        for month, version in hashes.items():
            repeated += (month, version) in known
            assert known.setdefault((month, version), contents[month]) == contents[month]
    assert 0 < repeated < len(known)


def test_partitions_written_by_one_transaction_have_different_versions(
    database: Settings, connection: psycopg.Connection
) -> None:
    connection.execute("DROP TABLE ml_features")
    connection.execute("ALTER TABLE backtest_results RENAME TO old_results")
    connection.execute("CREATE TABLE backtest_results (LIKE old_results INCLUDING DEFAULTS) PARTITION BY LIST (method)")
    with connection.transaction():
        for part, row in (("one", "r1"), ("two", "r2")):
            connection.execute(f"CREATE TABLE {part} (LIKE old_results INCLUDING DEFAULTS)")
            connection.execute(f"ALTER TABLE backtest_results ATTACH PARTITION {part} DEFAULT")
            insert(connection, row)
            connection.execute(f"ALTER TABLE backtest_results DETACH PARTITION {part}")
    hashes = []
    for part in ("one", "two"):
        connection.execute(f"ALTER TABLE backtest_results ATTACH PARTITION {part} DEFAULT")
        hashes.append(versions(database))
        connection.execute(f"ALTER TABLE backtest_results DETACH PARTITION {part}")
    assert hashes[0]["2023-01"] != hashes[1]["2023-01"]


def test_versions_are_not_used_under_row_level_security(database: Settings, connection: psycopg.Connection) -> None:
    insert(connection, "r1")
    connection.execute("ALTER TABLE backtest_results ENABLE ROW LEVEL SECURITY")
    connection.execute("CREATE POLICY winners ON backtest_results USING (total_return > 0)")
    connection.execute("CREATE ROLE bound; GRANT SELECT ON backtest_results, ml_features TO bound")
    try:
        with open_snapshot(database, resolve_source(database)) as snapshot:
            assert snapshot.versions() is not None  # no policy applies to the owner
            become(snapshot, "bound")
            assert snapshot.versions() is None
            assert snapshot.recent({}, None, DAYS) is None
    finally:
        connection.execute("DROP OWNED BY bound; DROP ROLE bound")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE backtest_results SET total_return = total_return",
        "UPDATE backtest_results SET full_results = '{}', recommendation = 'REJECT'",
        "INSERT INTO ml_features VALUES ('nobody', now(), '{\"a\": 1}')",
    ],
)
def test_a_digest_ignores_what_no_model_reads(database: Settings, connection: psycopg.Connection, change: str) -> None:
    insert(connection, "r1")
    feature(connection, "r1", 1.0)
    before = digests(database)
    connection.execute(change)
    assert digests(database) == before


def test_an_older_row_committed_later_is_above_the_watermark(
    database: Settings, connection: psycopg.Connection
) -> None:
    with closing(psycopg_connect(database, "rows")) as slow:
        insert(slow, "slow")  # its created_at is its transaction's start
        insert(connection, "quick")
        watermark, in_flight = seen(database)
        assert rows(in_flight) == {
            "2023-01": 1
        }  # `quick` is visible and above the watermark, because `slow` is still running
        slow.commit()
    assert rows(since(database, watermark)) == {"2023-01": 2}


def test_a_row_under_a_savepoint_is_above_the_watermark(database: Settings, connection: psycopg.Connection) -> None:
    with closing(psycopg_connect(database, "rows")) as slow:
        slow.execute("CREATE TEMP TABLE t (n int)")  # the transaction has an id
        for number in range(3):
            with slow.transaction():
                insert(slow, f"saved {number}")
        insert(connection, "quick")
        watermark, _ = seen(database)
        slow.commit()
    assert rows(since(database, watermark)) == {"2023-01": 4}


def test_an_old_created_at_is_above_the_watermark_too(database: Settings, connection: psycopg.Connection) -> None:
    watermark, _ = seen(database)
    yesterday = connection.execute("SELECT (now() - interval '1 day')::text").fetchone()
    insert(connection, "r1", created=yesterday[0] if yesterday else "")
    assert rows(since(database, watermark)) == {"2023-01": 1}


def test_updates_and_late_features_are_above_the_watermark(database: Settings, connection: psycopg.Connection) -> None:
    for row in ("r1", "r2", "r3"):
        insert(connection, row)
    watermark, in_flight = seen(database)
    assert in_flight == {}
    feature(connection, "r1", 1.0)
    assert rows(since(database, watermark)) == {"2023-01": 1}
    connection.execute("UPDATE backtest_results SET total_return = 0.5 WHERE id = 'r2'")
    assert rows(since(database, watermark)) == {"2023-01": 2}


def test_in_flight_rows_differ_from_rows_written_later(database: Settings, connection: psycopg.Connection) -> None:
    with closing(psycopg_connect(database, "rows")) as slow:
        slow.execute("CREATE TEMP TABLE t (n int)")
        insert(connection, "r1")
        watermark, in_flight = seen(database)
        assert since(database, watermark) == in_flight
        connection.execute("UPDATE backtest_results SET total_return = 0.5")
        again = since(database, watermark)
    assert rows(again) == rows(in_flight)
    assert again != in_flight


def test_xmin_works_for_a_partitioned_table_not_for_a_view(database: Settings, connection: psycopg.Connection) -> None:
    insert(connection, "r1")
    connection.execute("ALTER TABLE backtest_results RENAME TO old_results")
    connection.execute(
        "CREATE TABLE backtest_results (LIKE old_results INCLUDING DEFAULTS) PARTITION BY RANGE (end_date)"
    )
    connection.execute("CREATE TABLE part PARTITION OF backtest_results DEFAULT")
    watermark, _ = seen(database)
    connection.execute("INSERT INTO backtest_results SELECT * FROM old_results")
    assert rows(since(database, watermark)) == {"2023-01": 1}
    connection.execute("CREATE VIEW results_view AS SELECT * FROM backtest_results")
    viewed = database.model_copy(update={"results_table": "results_view"})
    assert digests(viewed) == digests(database)
    with open_snapshot(viewed, resolve_source(viewed)) as snapshot:
        assert snapshot.recent({}, watermark, DAYS) is None
        assert snapshot.versions() is None
        assert snapshot.recent_months(DAYS) == ["2023-01"]


NO_XMIN = "transparent decompression only supports tableoid system column"


@pytest.mark.parametrize("sqlstate", ["XX000", "0A000", "42P10", "42703"])
def test_a_table_whose_xmin_cannot_be_read_is_compared(
    sqlstate: str, database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hypertable with a compressed chunk fails like this: with an internal error, in the middle of a query."""
    insert(connection, "r1")
    fails = failing(connection, NO_XMIN, sqlstate)
    monkeypatch.setattr(change_query, "recent", fails)
    monkeypatch.setattr(change_query, "versions", fails)
    with open_snapshot(database, resolve_source(database)) as snapshot:
        assert snapshot.recent({}, None, DAYS) is None
        assert snapshot.versions() is None
        assert snapshot.written_since({"2023-01": snapshot.id.xmin}) == {}
        assert snapshot.digests()["2023-01"].rows == 1  # the snapshot is still usable


def test_other_internal_errors_are_errors(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_query, "recent", failing(connection, "could not read block 3", "XX000"))
    with (
        pytest.raises(DatabaseError, match="could not read block 3"),
        open_snapshot(database, resolve_source(database)) as snapshot,
    ):
        snapshot.recent({}, None, DAYS)


def failing(connection: psycopg.Connection, message: str, sqlstate: str) -> Callable[..., sql.SQL]:
    """A query that fails, in place of another."""
    connection.execute(
        "CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{sqlstate}'; END $$"
    )
    return lambda *_, **__: sql.SQL("SELECT fail()")


def test_the_loader_reads_the_snapshot(database: Settings, connection: psycopg.Connection) -> None:
    insert(connection, "r1")
    layout = resolve_source(database)
    with open_snapshot(database, layout) as snapshot:
        insert(connection, "r2")
        now = pd.Timestamp.now(tz="UTC")
        assert load_rows(snapshot.session, RowQuery(layout), now)[0]["id"].to_pylist() == ["r1"]
        assert snapshot.digests()["2023-01"].rows == 1
    assert digests(database)["2023-01"].rows == 2


def test_the_right_to_read_is_enough(database: Settings, connection: psycopg.Connection) -> None:
    insert(connection, "r1")
    connection.execute("CREATE ROLE reader; GRANT SELECT ON backtest_results, ml_features TO reader")
    try:
        with open_snapshot(database, resolve_source(database)) as snapshot:
            become(snapshot, "reader")
            assert snapshot._read_id() == snapshot.id
            assert rows(snapshot.recent({}, None, DAYS) or {}) == {"2023-01": 1}
            assert snapshot.digests()["2023-01"].rows == 1
    finally:
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE other (LIKE backtest_results INCLUDING ALL); DROP TABLE backtest_results; "
        "ALTER TABLE other RENAME TO backtest_results",
        "ALTER TABLE backtest_results RENAME sharpe_ratio TO other; "
        "ALTER TABLE backtest_results RENAME max_drawdown TO sharpe_ratio; "
        "ALTER TABLE backtest_results RENAME other TO max_drawdown",
        "ALTER TABLE ml_features ADD COLUMN spread float8 DEFAULT 0.5",
    ],
)
def test_a_recreated_or_altered_table_has_another_identity(
    database: Settings, connection: psycopg.Connection, change: str
) -> None:
    with open_snapshot(database, resolve_source(database)) as snapshot:
        before = snapshot.id.identity
    insert(connection, "r1")
    with open_snapshot(database, resolve_source(database)) as snapshot:
        assert snapshot.id.identity == before
    connection.execute(change)
    with open_snapshot(database, resolve_source(database)) as snapshot:
        assert snapshot.id.identity != before


def test_far_and_future_watermarks_cannot_be_compared() -> None:
    now = SnapshotId("server", xmin=5_000_000_000, xmax=5_000_000_100)
    assert now.can_compare(5_000_000_000)
    assert now.can_compare(now.xmax - MAX_XID_DISTANCE + 1)
    assert not now.can_compare(now.xmax - MAX_XID_DISTANCE)
    assert not now.can_compare(now.xmax + 1)  # from a database restored to an earlier day


def test_xids_keep_their_order_past_a_wrap_around(connection: psycopg.Connection) -> None:
    assert [change_query.xid(number) for number in (755, 2**32 + 755, 2**32, 2**32 + 3)] == ["755", "755", "3", "3"]
    # PostgreSQL's own `age` counts across the wrap: the id just below 2^32 is a little older than 3.
    older = connection.execute("SELECT age('4294967295'::xid) - age('3'::xid)").fetchone()
    assert older == (4,)


def test_a_row_too_old_for_its_id_is_not_recent(connection: psycopg.Connection) -> None:
    """Its id looks like one of the future."""
    query = sql.SQL("SELECT {} FROM (SELECT (txid_current() + {})::text::xid AS xmin) r")
    ages = [connection.execute(query.format(change_query._age("r"), offset)).fetchone() for offset in (0, 100)]
    assert ages == [(0,), (None,)]
