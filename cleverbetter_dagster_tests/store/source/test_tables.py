"""The two source tables: created if missing, otherwise mapped and never altered."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from pydantic import SecretStr

from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source import tables
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.tables import ensure_source_tables

SOMEBODYS = """
CREATE TABLE {results} (
    id uuid PRIMARY KEY, strategy_id uuid, run_date timestamp, start_date date, end_date timestamp, roi numeric(10, 4),
    sharpe_ratio numeric, max_drawdown real, win_rate double precision, profit_factor numeric, total_bets integer,
    composite_score numeric{more}
)"""


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader(database: Settings, connection: psycopg.Connection) -> Iterator[Settings]:
    """The same database for a role that may read what is there when it first connects, and nothing else."""
    connection.execute("DROP ROLE IF EXISTS reader")
    connection.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
    assert database.database_url is not None
    url = database.database_url.get_secret_value()
    _, _, rest = url.partition("@")
    yield database.model_copy(update={"database_url": SecretStr(f"postgresql://reader:secret@{rest}")})
    connection.execute("DROP OWNED BY reader")
    connection.execute("DROP ROLE reader")


def test_tables_are_created_where_missing_and_only_once(
    database: Settings, connection: psycopg.Connection, with_timescaledb: bool
) -> None:
    assert [str(table) for table in ensure_source_tables(database)] == ["public.backtest_results", "public.ml_features"]
    assert ensure_source_tables(database) == ()
    indexed = connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'backtest_results'").fetchall()
    definitions = " ".join(definition for (definition,) in indexed)
    key = "(id, run_date)" if with_timescaledb else "(id)"
    for columns in (key, "(end_date)", "(run_date)", "(created_at)", "(strategy_id, method, start_date)"):
        assert columns in definitions


def test_the_tables_created_can_be_resolved(database: Settings) -> None:
    ensure_source_tables(database)
    layout = resolve_source(database)
    assert layout.columns["roi"].name == "total_return"
    assert layout.embedded is not None
    assert layout.features is not None
    assert layout.features.one_per_key
    assert layout.features.json is not None
    assert layout.window_end.name == "end_date"


def test_a_hypertables_key_includes_its_time(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, with_timescaledb: bool
) -> None:
    if with_timescaledb:
        pytest.skip("done for real in test_timescaledb.py")
    connection.execute("CREATE TABLE called (relation text, time_column text, chunk interval)")
    connection.execute(
        "CREATE FUNCTION create_hypertable(relation regclass, time_column name, chunk_time_interval interval, "
        "create_default_indexes bool) RETURNS void LANGUAGE sql AS "
        "$$ INSERT INTO called VALUES (relation::text, time_column, chunk_time_interval) $$"
    )
    monkeypatch.setattr(tables, "has_timescaledb", lambda _: True)
    ensure_source_tables(database)
    called = [("backtest_results", "run_date", timedelta(days=365))]
    assert connection.execute("SELECT * FROM called").fetchall() == called
    key = connection.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p'").fetchall()
    assert ("PRIMARY KEY (id, run_date)",) in key


def test_tables_of_others_are_used_as_they_are(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(SOMEBODYS.format(results="backtest_results", more=", full_results jsonb"))
    connection.execute("CREATE TABLE ml_features (result_id uuid, avg_odds real, in_play boolean, note text)")
    before = connection.execute("SELECT count(*) FROM pg_class").fetchone()
    assert ensure_source_tables(database) == ()
    layout = resolve_source(database)
    assert connection.execute("SELECT count(*) FROM pg_class").fetchone() == before
    assert layout.columns["roi"].name == "roi"
    assert "method" not in layout.columns
    assert layout.embedded is None
    assert layout.features is not None
    assert (layout.features.key.name, layout.features.one_per_key) == ("result_id", False)
    assert [column.name for column in layout.features.wide] == ["avg_odds", "in_play"]


def test_features_inside_the_results_table_are_enough(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(SOMEBODYS.format(results="backtest_results", more=", ml_features jsonb"))
    assert ensure_source_tables(database) == ()
    layout = resolve_source(database)
    assert layout.features is None
    assert layout.embedded is not None


def test_tables_may_be_views_in_any_schema(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute("CREATE SCHEMA upstream")
    connection.execute(SOMEBODYS.format(results="upstream.runs", more=", ml_features json"))
    connection.execute("CREATE MATERIALIZED VIEW upstream.best AS SELECT * FROM upstream.runs")
    settings = database.model_copy(update={"results_table": "upstream.best", "features_table": "upstream.none"})
    assert str(resolve_source(settings).results) == "upstream.best"


def test_a_missing_table_is_named_with_the_remedy(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(SOMEBODYS.format(results="backtest_result", more=""))
    connection.execute("CREATE SCHEMA IF NOT EXISTS timescaledb_information")
    connection.execute("CREATE VIEW timescaledb_information.of_no_interest AS SELECT 1")
    with pytest.raises(SchemaError) as raised:
        resolve_source(database)
    message = str(raised.value)
    assert "'backtest_results'" in message
    assert "sees backtest_result." in message
    assert "Closest: backtest_result." in message
    assert "CLEVERBETTER_RESULTS_TABLE" in message


def test_all_missing_columns_are_named_with_likely_partners(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(SOMEBODYS.format(results="backtest_results", more=""))
    connection.execute("ALTER TABLE backtest_results RENAME win_rate TO winning_rate")
    connection.execute("ALTER TABLE backtest_results RENAME end_date TO until")
    connection.execute("ALTER TABLE backtest_results DROP composite_score")
    with pytest.raises(SchemaError) as raised:
        resolve_source(database)
    assert str(raised.value).splitlines()[:4] == [
        "The table public.backtest_results lacks columns that backtest rows need:",
        "  end_date: probably 'until'",
        "  win_rate: probably 'winning_rate'",
        "  composite_score: no column is like it",
    ]
    assert "max_drawdown, winning_rate" in str(raised.value)
    assert "Create a view" in str(raised.value)


def test_a_column_of_the_wrong_type_is_named(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(SOMEBODYS.format(results="backtest_results", more=", ml_features jsonb"))
    connection.execute("ALTER TABLE backtest_results ALTER end_date TYPE text")
    with pytest.raises(SchemaError, match=r"'end_date' of public\.backtest_results has the type text"):
        resolve_source(database)


def test_the_right_to_read_is_enough(database: Settings, connection: psycopg.Connection, reader: Settings) -> None:
    ensure_source_tables(database)
    connection.execute("GRANT SELECT ON backtest_results, ml_features TO reader")
    assert ensure_source_tables(reader) == ()
    assert resolve_source(reader).results.name == "backtest_results"


def test_a_role_without_select_learns_which_right_it_lacks(
    database: Settings, connection: psycopg.Connection, reader: Settings
) -> None:
    ensure_source_tables(database)
    with pytest.raises(SchemaError, match=r"GRANT SELECT ON public\.backtest_results TO reader"):
        resolve_source(reader)


def test_a_role_without_usage_learns_which_right_it_lacks(
    database: Settings, connection: psycopg.Connection, reader: Settings
) -> None:
    connection.execute("CREATE SCHEMA upstream")
    connection.execute(SOMEBODYS.format(results="upstream.runs", more=", ml_features jsonb"))
    with pytest.raises(SchemaError, match="GRANT USAGE ON SCHEMA upstream TO reader"):
        resolve_source(reader.model_copy(update={"results_table": "upstream.runs"}))


def test_a_role_without_create_learns_which_right_it_lacks(connection: psycopg.Connection, reader: Settings) -> None:
    connection.execute("REVOKE CREATE ON SCHEMA public FROM public")
    with pytest.raises(SchemaError, match="GRANT USAGE, CREATE ON SCHEMA public TO reader"):
        ensure_source_tables(reader)
