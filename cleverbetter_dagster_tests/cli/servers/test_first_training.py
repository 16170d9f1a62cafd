"""What `up` says of the first training, which nobody asked for."""

import pytest

from cleverbetter_dagster.cli.servers.first_training import first_training
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger.table import Decision, ensure_ledger, insert
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.changes import InFlightRows
from cleverbetter_dagster.store.source.load_log import Digest, LoadedMonth, record_load
from cleverbetter_dagster.store.source.tables import ensure_source_tables

ROWS = """INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio,
              max_drawdown, total_bets, win_rate, profit_factor, composite_score, created_at)
          SELECT i::text, 's', '2024-01-05', '2023-01-01', '2023-01-31', 0.1, 1, 0.1, 10, 0.5, 1.2, 0.5, now()
          FROM generate_series(1, %s) i"""


@pytest.fixture
def with_rows(database: Settings) -> Settings:
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        connection.execute(ROWS, [6000])
    return database


def test_it_tells_when_it_begins_and_how_long_it_takes(with_rows: Settings) -> None:
    # 15 minutes of search for two families and 5 for the third, two at a time: 17.5. Then 6,000 rows: 2.
    assert first_training(with_rows) == (
        "6,000 rows were never trained on: the first training begins by itself within 30 s. Expect about 20 minutes: "
        "18 at most to search parameters (ensemble 15, classifier 15, rl_agent 5; 2 at a time), and 2 to fit, "
        "judge and report. `cleverbetter status` shows what runs."
    )


def test_few_rows_wait_for_more(with_rows: Settings) -> None:
    told = first_training(with_rows.model_copy(update={"min_new_rows": 7000}))
    assert "begins by itself when there are 7,000, or after 30 minutes." in str(told)


def test_without_rows_or_automation_nothing_is_announced(database: Settings, with_rows: Settings) -> None:
    assert first_training(with_rows.model_copy(update={"automation": False})) is None
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        connection.execute("TRUNCATE backtest_results CASCADE")
    assert first_training(database) is None


def test_what_was_trained_before_is_no_first_training(with_rows: Settings) -> None:
    record_load(with_rows, {"2023-01": LoadedMonth(Digest(1, "x"), "db", 1, InFlightRows())}, "a run", "2023-01")
    assert first_training(with_rows) is None


def test_with_a_champion_nothing_is_announced(with_rows: Settings) -> None:
    with psycopg_connect(with_rows, "state", autocommit=True) as connection:
        ensure_ledger(connection)
        insert(connection, "promoted", Decision("ensemble", 3, "run", "2023-12", "better", "a test"), None)
    assert first_training(with_rows) is None
