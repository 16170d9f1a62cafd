"""Hypertables of a real TimescaleDB: their key, reading across chunks, and changes in every chunk."""

from collections.abc import Iterator
from datetime import timedelta

import pandas as pd
import psycopg
import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.changes import Digest, open_snapshot
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_all_rows
from cleverbetter_dagster.store.source.tables import ensure_source_tables

INSERT = """
INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio,
    max_drawdown, total_bets, win_rate, profit_factor, method, composite_score)
SELECT 'r' || year, 's1', '2021-02-01'::timestamptz + year * interval '1 year',
    '2021-01-01'::timestamptz + year * interval '1 year', '2021-01-31'::timestamptz + year * interval '1 year',
    0.125, 1.5, 0.25, 40, 0.375, 1.2, 'replay', 0.5
FROM unnest(%s::int[]) year"""
DAYS = 7
CHUNKS = "SELECT count(*) FROM show_chunks('backtest_results')"


@pytest.fixture
def hypertable(database: Settings, with_timescaledb: bool) -> Iterator[psycopg.Connection]:
    """A connection to a database whose results are a hypertable with three rows, each in a chunk of its own."""
    if not with_timescaledb:
        pytest.skip("no TimescaleDB: --timescaledb with --postgres-url")
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        connection.execute(INSERT, [[0, 1, 2]])
        yield connection


def loaded(settings: Settings) -> list[str]:
    rows = load_all_rows(settings, pd.Timestamp.now(tz="UTC"))
    return sorted(rows["id"].to_pylist())


def digests_and_versions(settings: Settings) -> tuple[dict[str, Digest], dict[str, str]]:
    """Digests and versions of every month."""
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        versions = snapshot.versions()
        assert versions is not None
        return snapshot.digests(), versions


def test_the_results_are_a_hypertable_by_run_date(database: Settings, hypertable: psycopg.Connection) -> None:
    dimensions = "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions"
    expected = [("backtest_results", "run_date", timedelta(days=365))]
    assert hypertable.execute(dimensions).fetchall() == expected
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'backtest_results'::regclass"
    assert ("PRIMARY KEY (id, run_date)",) in hypertable.execute(key).fetchall()
    indexed = hypertable.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'backtest_results'").fetchall()
    assert sum("(run_date)" in definition or "(run_date DESC)" in definition for (definition,) in indexed) == 1
    assert ensure_source_tables(database) == ()


def test_rows_of_all_chunks_are_loaded_and_compared(database: Settings, hypertable: psycopg.Connection) -> None:
    assert hypertable.execute(CHUNKS).fetchone() == (3,)
    assert loaded(database) == ["r0", "r1", "r2"]
    digests, versions = digests_and_versions(database)
    assert {month: digest.rows for month, digest in digests.items()} == dict.fromkeys(versions, 1)
    assert sorted(versions) == ["2021-01", "2022-01", "2023-01"]


def test_a_row_in_a_new_chunk_is_above_the_watermark(database: Settings, hypertable: psycopg.Connection) -> None:
    with open_snapshot(database, resolve_source(database)) as snapshot:
        watermark = snapshot.id.xmin
        identity = snapshot.id.identity
        assert snapshot.recent({}, watermark, DAYS) == {}
    hypertable.execute(INSERT, [[3]])
    with open_snapshot(database, resolve_source(database)) as snapshot:
        recent = snapshot.recent({}, watermark, DAYS) or {}
        assert {month: in_flight.rows for month, in_flight in recent.items()} == {"2024-01": 1}
        assert snapshot.id.identity == identity
    assert hypertable.execute(CHUNKS).fetchone() == (4,)


def test_a_dropped_chunk_loses_its_rows(database: Settings, hypertable: psycopg.Connection) -> None:
    digests, versions = digests_and_versions(database)
    hypertable.execute("SELECT drop_chunks('backtest_results', '2022-01-01'::timestamptz)")
    digests_after, versions_after = digests_and_versions(database)
    assert sorted(digests_after) == sorted(versions_after) == ["2022-01", "2023-01"]
    assert digests_after.items() < digests.items()
    assert versions_after.items() < versions.items()
    assert loaded(database) == ["r1", "r2"]


def test_compressed_chunks_are_compared_by_content(database: Settings, hypertable: psycopg.Connection) -> None:
    if hypertable.execute("SHOW timescaledb.license").fetchone() == ("apache",):
        pytest.skip("this TimescaleDB is built without compression")
    digests, _ = digests_and_versions(database)
    hypertable.execute("ALTER TABLE backtest_results SET (timescaledb.compress)")
    hypertable.execute("SELECT compress_chunk(chunk) FROM show_chunks('backtest_results') chunk LIMIT 1")
    with open_snapshot(database, resolve_source(database)) as snapshot:
        assert snapshot.recent({}, None, DAYS) is snapshot.versions() is None
        assert snapshot.digests() == digests
        assert snapshot.recent_months(DAYS) == sorted(digests)
    assert loaded(database) == ["r0", "r1", "r2"]


def test_converting_a_table_to_a_hypertable_keeps_its_digests(
    database: Settings, hypertable: psycopg.Connection
) -> None:
    """Partitioned by another column than ours, as a team's own may be. The right to read is enough."""
    digests, _ = digests_and_versions(database)
    hypertable.execute("CREATE TABLE plain AS SELECT * FROM backtest_results")
    settings = database.model_copy(update={"results_table": "plain"})
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        assert snapshot.digests() == digests
    hypertable.execute("SELECT create_hypertable('plain', 'end_date', migrate_data => true)")
    assert digests_and_versions(settings)[0] == digests
    assert loaded(settings) == ["r0", "r1", "r2"]
    hypertable.execute("CREATE ROLE reader; GRANT SELECT ON plain, ml_features TO reader")
    try:
        with open_snapshot(settings, resolve_source(settings)) as snapshot:
            snapshot.session._connection.cursor().execute("SET LOCAL ROLE reader")
            assert sum(recent.rows for recent in (snapshot.recent({}, None, DAYS) or {}).values()) == 3
            assert snapshot.versions() is not None
            assert snapshot.digests() == digests
    finally:
        hypertable.execute("DROP OWNED BY reader; DROP ROLE reader")
