"""Reading rows from PostgreSQL, for every layout of the tables."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from cleverbetter_dagster.dataset.quality.conversion import LONGEST_VALUE
from cleverbetter_dagster.dataset.quality.left_out import NonNumeric, left_out_of
from cleverbetter_dagster.dataset.schema import REQUIRED, TIMESTAMP
from cleverbetter_dagster.errors import DatabaseError, DatabaseUnavailable
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.giving_way import read_session
from cleverbetter_dagster.store.source import loader
from cleverbetter_dagster.store.source.changes import open_snapshot
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_rows, month_counts
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster.store.source.tables import ensure_source_tables

NOW = pd.Timestamp("2023-12-31", tz="UTC")

RESULTS = "backtest_results"
COLUMNS = (
    "id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio, max_drawdown, win_rate, "
    "profit_factor, total_bets, composite_score, method, created_at"
)


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


@pytest.fixture
def ours(database: Settings, connection: psycopg.Connection) -> psycopg.Connection:
    """Tables as the package makes them."""
    ensure_source_tables(database)
    return connection


def insert(connection: psycopg.Connection, number: int, end: str = "2023-01-31T23:59:59Z", roi: str = "0.125") -> None:
    connection.execute(
        f"INSERT INTO backtest_results ({COLUMNS}) VALUES ('r{number}', 's1', '2023-02-01T01:00:00Z', "
        f"'2023-01-01T00:00:00Z', %s, %s, 1.5, 0.25, 0.375, 999, 40, 0.5, 'replay', '2023-02-01T02:00:00Z')",
        [end, roi],
    )


def features(connection: psycopg.Connection, number: int, json: str, computed_at: str = "2023-02-01") -> None:
    connection.execute("INSERT INTO ml_features VALUES (%s, %s, %s)", [f"r{number}", computed_at, json])


class Loaded(NamedTuple):
    rows: pa.Table
    violations: pd.DataFrame


def load(settings: Settings, start: str | None = None, end: str | None = None) -> Loaded:
    instants = [pd.Timestamp(at, tz="UTC") if at else None for at in (start, end)]
    query = RowQuery(resolve_source(settings), *instants, categories=settings.categorical_features)
    with read_session(settings) as session:
        return Loaded(*load_rows(session, query, NOW))


def test_rows_have_canonical_names_and_types(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    features(ours, 1, '{"avg_odds": 4.5, "overround": 1}')
    loaded = load(database)
    assert loaded.violations.empty
    assert set(REQUIRED) <= set(loaded.rows.column_names)
    row = loaded.rows.to_pylist()[0]
    assert (row["id"], row["roi"], row["total_bets"], row["profit_factor"]) == ("r1", 0.125, 40.0, 999.0)
    assert row["end_date"] == pd.Timestamp("2023-01-31T23:59:59Z")
    assert (row["ml_avg_odds"], row["ml_overround"]) == (4.5, 1.0)
    assert loaded.rows.schema.field("start_date").type == TIMESTAMP
    assert loaded.rows.schema.field("created_at").type == TIMESTAMP


def test_a_range_includes_its_start_and_not_its_end(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1, end="2023-01-31T23:59:59.999999Z")
    insert(ours, 2, end="2023-02-01T00:00:00Z")
    insert(ours, 3, end="2023-03-01T00:00:00Z")
    assert load(database, "2023-02-01", "2023-03-01").rows["id"].to_pylist() == ["r2"]


def test_an_empty_range_gives_a_table_with_all_columns(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    loaded = load(database, "2020-01-01", "2020-02-01")
    assert (loaded.rows.num_rows, len(loaded.violations)) == (0, 0)
    assert set(REQUIRED) <= set(loaded.rows.column_names)


def test_a_row_without_features_keeps_its_place(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    insert(ours, 2)
    features(ours, 2, '{"avg_odds": 4.5}')
    rows = load(database).rows.sort_by("id")
    assert rows["ml_avg_odds"].to_pylist() == [None, 4.5]


def test_a_key_only_late_rows_have_is_found(
    database: Settings, ours: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "SAMPLED_ROWS", 1)
    for number in range(1, 6):
        insert(ours, number)
        features(ours, number, '{"usual": 1}' if number < 5 else '{"usual": 2, "it\'s \\"rare\\"": 7}')
    rows = load(database).rows.sort_by("id")
    assert rows['ml_it\'s "rare"'].to_pylist() == [None, None, None, None, 7.0]
    assert rows["ml_usual"].to_pylist() == [1.0, 1.0, 1.0, 1.0, 2.0]


MIXED = {
    "4.5": 4.5,
    '"high"': None,
    '" 3.5 "': 3.5,
    "true": 1.0,
    '"false"': 0.0,
    "null": None,
    '""': None,
    '"NaN"': None,
    '"Infinity"': None,
    '{"deep": 1}': None,
    "[1]": None,
    '"2023-01-31"': None,
}
"""JSON values of a market feature, and what they are as numbers."""

NO_NUMBERS = 5  # high, Infinity, {"deep": 1}, [1], 2023-01-31; null, "" and NaN mean "not measured"


@pytest.mark.parametrize("many_keys", [0, 64])
@pytest.mark.parametrize("sampled_rows", [1, 100])
@pytest.mark.parametrize("place", ["table", "embedded"])
def test_a_feature_value_without_number_is_missing_and_counted(
    database: Settings,
    ours: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    many_keys: int,
    sampled_rows: int,
    place: str,
) -> None:
    monkeypatch.setattr(loader, "MANY_KEYS", many_keys)
    monkeypatch.setattr(loader, "SAMPLED_ROWS", sampled_rows)
    for number, value in enumerate(MIXED):
        insert(ours, number)
        written = f'{{"avg_odds": {value}, "country": "AU", "other": 1}}'
        if place == "table":
            features(ours, number, written)
        else:
            ours.execute("UPDATE backtest_results SET ml_features = %s WHERE id = %s", [written, f"r{number}"])
    loaded = load(database)
    rows = {int(row["id"][1:]): row for row in loaded.rows.to_pylist()}
    assert loaded.violations.empty
    assert [rows[number]["ml_avg_odds"] for number in range(len(MIXED))] == list(MIXED.values())
    assert {(row["ml_country"], row["ml_other"]) for row in rows.values()} == {(None, 1.0)}
    counts = left_out_of(loaded.rows).non_numeric
    assert {name: count.values for name, count in counts.items()} == {"avg_odds": NO_NUMBERS, "country": len(MIXED)}
    assert counts["country"].example == "AU"


def test_an_infinite_feature_is_missing_and_its_row_stays(database: Settings, ours: psycopg.Connection) -> None:
    ours.execute("ALTER TABLE ml_features RENAME TO old_features")
    ours.execute("CREATE TABLE ml_features (backtest_id text PRIMARY KEY, a float8)")
    for number, value in enumerate(["Infinity", "2.5", "NaN"]):
        insert(ours, number)
        ours.execute("INSERT INTO ml_features VALUES (%s, %s)", [f"r{number}", value])
    loaded = load(database)
    assert loaded.violations.empty
    assert loaded.rows.sort_by("id")["ml_a"].to_pylist() == [None, 2.5, None]
    assert left_out_of(loaded.rows).non_numeric == {"a": NonNumeric(values=1, example="inf")}


def test_wide_columns_of_other_types_are_numbers_or_counted(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    insert(ours, 2)
    ours.execute("ALTER TABLE ml_features RENAME TO old_features")
    ours.execute("CREATE TYPE going AS ENUM ('firm', 'soft')")
    ours.execute(
        "CREATE TABLE ml_features (backtest_id text PRIMARY KEY, avg_odds numeric, rank text, going going, race uuid, "
        "off_time timestamptz, prices numeric[], place point)"
    )
    ours.execute(
        "INSERT INTO ml_features VALUES ('r1', 4.5, ' 2.5', 'firm', gen_random_uuid(), now(), '{1,2}', '(1,2)'), "
        "('r2', 5, '', NULL, NULL, NULL, NULL, NULL)"
    )
    loaded = load(database)
    assert loaded.rows.sort_by("id")["ml_rank"].to_pylist() == [2.5, None]
    counts = {name: count.values for name, count in left_out_of(loaded.rows).non_numeric.items()}
    assert counts == {"going": 1, "off_time": 1, "place": 1, "prices": 1, "race": 1}
    with open_snapshot(database, resolve_source(database)) as snapshot:
        assert snapshot.digests()["2023-01"].rows == 2
    ours.execute("DROP TABLE ml_features")
    ours.execute("DROP TYPE going")


@pytest.mark.parametrize("many_keys", [0, 64])
def test_features_that_are_no_object_are_violations(
    database: Settings, ours: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, many_keys: int
) -> None:
    monkeypatch.setattr(loader, "MANY_KEYS", many_keys)
    for number, value in enumerate(['{"avg_odds": 1}', "[1, 2]", "null", "7", "{}"]):
        insert(ours, number)
        features(ours, number, value)
    loaded = load(database)
    assert sorted(loaded.rows["id"].to_pylist()) == ["r0", "r2", "r4"]
    assert sorted(loaded.violations[["id", "column", "value"]].to_numpy().tolist()) == [
        ["r1", "ml_features", "[1, 2]"],
        ["r3", "ml_features", "7"],
    ]


def test_impossible_numbers_and_dates_do_not_stop_other_rows(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    insert(ours, 2, roi="NaN")
    insert(ours, 3, roi="Infinity")
    insert(ours, 4, end="infinity")
    insert(ours, 5, end="0044-03-15 BC")
    loaded = load(database)
    assert loaded.rows["id"].to_pylist() == ["r1"]
    assert sorted(loaded.violations[["id", "column"]].to_numpy().tolist()) == [
        ["r2", "roi"],
        ["r3", "roi"],
        ["r4", "end_date"],
        ["r5", "end_date"],
    ]


def test_empty_text_and_null_are_both_missing(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE TABLE backtest_results AS SELECT 'r1' AS id, ''::text AS strategy_id, NULL::text AS method, "
        "timestamptz '2023-02-01' AS run_date, date '2023-01-01' AS start_date, "
        "timestamp '2023-01-31 12:00' AS end_date, 1.5::numeric AS roi, 1::real AS sharpe_ratio, "
        "0.25 AS max_drawdown, 0.5 AS profit_factor, NULL::numeric AS "
        "win_rate, 7::smallint AS total_bets, '0.5'::text AS composite_score, '{\"a\": 1}'::json AS ml_features"
    )
    loaded = load(database)
    assert loaded.violations["column"].tolist() == ["strategy_id", "win_rate"]
    connection.execute("UPDATE backtest_results SET strategy_id = 's,\"1\"\n', win_rate = 0.5")
    row = load(database).rows.to_pylist()[0]
    assert (row["strategy_id"], row["method"], row["composite_score"], row["ml_a"]) == ('s,"1"', "", 0.5, 1.0)
    assert row["start_date"] == pd.Timestamp("2023-01-01", tz="UTC")
    assert row["end_date"] == pd.Timestamp("2023-01-31 12:00", tz="UTC")
    assert load(database, start="2023-01-31 12:00").rows.num_rows == 1
    assert load(database, end="2023-01-31 12:00").rows.num_rows == 0


@pytest.mark.parametrize("block_bytes", [256, 384, 512])
def test_line_breaks_and_other_date_styles_do_no_harm(
    database: Settings, ours: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(loader, "BLOCK_BYTES", block_bytes)
    ours.execute(f"ALTER DATABASE {ours.info.dbname} SET DateStyle = 'SQL, DMY'")
    for number in range(20):
        insert(ours, number)
    ours.execute("UPDATE backtest_results SET strategy_id = E'one\\n\\n\\ntwo'")
    rows = load(database).rows
    assert rows["strategy_id"].to_pylist() == ["one\n\n\ntwo"] * 20
    assert set(rows["run_date"].to_pylist()) == {pd.Timestamp("2023-02-01T01:00:00Z")}


@pytest.mark.parametrize(
    "text",
    [
        "a\\b",
        "\\N",
        "\\",
        "\\\\n",
        "\\\n",
        "tab\tand\\tno tab",
        "\b\f\r\v.",
        '"quoted", so"',
        "\\.",
        "\x01\x1f",
        "\u00fc\u2028",
    ],
)
def test_text_is_read_as_it_was_written(database: Settings, ours: psycopg.Connection, text: str) -> None:
    text = f"<{text}>"  # trimming is another matter
    insert(ours, 1)
    insert(ours, 2)
    ours.execute("UPDATE backtest_results SET strategy_id = %s WHERE id = 'r1'", [text])
    features(ours, 1, json.dumps({text: 1, "avg_odds": 3}))
    features(ours, 2, json.dumps({"avg_odds": text}))
    loaded = load(database)
    row = loaded.rows.to_pylist()[0]
    assert (row["id"], row["strategy_id"], row["ml_avg_odds"], row[f"ml_{text}"]) == ("r1", text, 3.0, 1.0)
    assert left_out_of(loaded.rows).non_numeric == {"avg_odds": NonNumeric(values=1, example=text)}


def test_a_table_without_method_gets_the_default(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    ours.execute("ALTER TABLE backtest_results DROP COLUMN method")
    assert load(database).rows["method"].to_pylist() == [""]


def test_wide_features_are_joined_by_any_type_of_id(database: Settings, ours: psycopg.Connection) -> None:
    one = "0e37df36-f698-11e6-8dd4-cb9ced3df976"
    insert(ours, 1)
    ours.execute("ALTER TABLE ml_features RENAME TO old_features")
    ours.execute("UPDATE backtest_results SET id = %s", [one])
    ours.execute(
        "CREATE TABLE ml_features (backtest_id uuid PRIMARY KEY, avg_odds numeric, runs integer, live boolean)"
    )
    ours.execute("INSERT INTO ml_features VALUES (%s, 4.50, 3, true)", [one])
    row = load(database).rows.to_pylist()[0]
    assert (row["ml_avg_odds"], row["ml_runs"], row["ml_live"]) == (4.5, 3.0, 1.0)


def test_the_newest_of_several_features_rows_counts(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    insert(ours, 2)
    ours.execute("ALTER TABLE ml_features DROP CONSTRAINT ml_features_pkey")
    ours.execute("CREATE UNIQUE INDEX ON ml_features (backtest_result_id, computed_at)")
    features(ours, 1, '{"avg_odds": 1}', "2023-02-01")
    features(ours, 1, '{"avg_odds": 3}', "2023-02-03")
    features(ours, 1, '{"avg_odds": 2}', "2023-02-02")
    loaded = load(database, "2023-01-01", "2023-02-01")
    assert loaded.rows.sort_by("id").select(["id", "ml_avg_odds"]).to_pylist() == [
        {"id": "r1", "ml_avg_odds": 3.0},
        {"id": "r2", "ml_avg_odds": None},
    ]


@pytest.mark.parametrize("many_keys", [0, 64])
def test_the_features_table_wins_over_embedded_features(
    database: Settings, ours: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, many_keys: int
) -> None:
    monkeypatch.setattr(loader, "MANY_KEYS", many_keys)
    for number in (1, 2):
        insert(ours, number)
        ours.execute("UPDATE backtest_results SET ml_features = %s", ['{"avg_odds": 1, "only_here": 5}'])
    features(ours, 1, '{"avg_odds": 2, "only_there": 6, "only_here": null}')
    rows = load(database).rows.sort_by("id")
    assert rows["ml_avg_odds"].to_pylist() == [2.0, 1.0]
    assert rows["ml_only_here"].to_pylist() == [5.0, 5.0]
    assert rows["ml_only_there"].to_pylist() == [6.0, None]


@pytest.mark.parametrize("many_keys", [0, 64])
@pytest.mark.parametrize("place", ["table", "embedded"])
def test_a_category_is_a_column_of_texts(
    database: Settings, ours: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, many_keys: int, place: str
) -> None:
    monkeypatch.setattr(loader, "MANY_KEYS", many_keys)
    settings = database.model_copy(update={"categorical_features": ("country", "track", "unknown")})
    for number, written in enumerate(['{"country": " AU ", "track": 7, "odds": 2}', '{"country": "", "odds": "x"}']):
        insert(ours, number)
        if place == "table":
            features(ours, number, written)
        else:
            ours.execute("UPDATE backtest_results SET ml_features = %s WHERE id = %s", [written, f"r{number}"])
    rows = load(settings).rows.sort_by("id")
    market = [name for name in rows.column_names if name.startswith(("ml_", "category_"))]
    assert rows.select(sorted(market)).to_pylist() == [
        {"category_country": "AU", "category_track": "7", "category_unknown": None, "ml_odds": 2.0},
        {"category_country": None, "category_track": None, "category_unknown": None, "ml_odds": None},
    ]
    assert set(left_out_of(rows).non_numeric) == {"odds"}


def test_a_column_of_its_own_may_be_a_category(database: Settings, ours: psycopg.Connection) -> None:
    settings = database.model_copy(update={"categorical_features": ("country", "rank")})
    ours.execute("ALTER TABLE ml_features RENAME TO old_features")
    ours.execute("CREATE TABLE ml_features (backtest_id text PRIMARY KEY, odds float8, rank int, country text)")
    insert(ours, 1)
    ours.execute("INSERT INTO ml_features VALUES ('r1', 2.5, 3, 'AU')")
    row = load(settings).rows.to_pylist()[0]
    assert (row["ml_odds"], row["category_rank"], row["category_country"]) == (2.5, "3", "AU")
    assert "ml_rank" not in row and "ml_country" not in row


def test_more_feature_names_than_sql_has_columns_are_read(database: Settings, ours: psycopg.Connection) -> None:
    """The hundredth part of 200 rows is 2: a name that one row has is rare."""
    for number in range(200):
        insert(ours, number)
    ours.execute(
        "INSERT INTO ml_features SELECT 'r' || n, '2023-02-01', jsonb_build_object('usual', n, 'pair_' || n / 2, 0.5) "
        "|| (SELECT jsonb_object_agg('runner_' || n || '_' || g, 2.5) FROM generate_series(1, 10) g) "
        "FROM generate_series(0, 199) n"
    )
    loaded = load(database)
    rows = loaded.rows.to_pylist()
    market = [name for name in loaded.rows.column_names if name.startswith("ml_")]
    assert market == sorted(["ml_usual", *(f"ml_pair_{n}" for n in range(100))])
    assert all(row["ml_usual"] == int(row["id"][1:]) for row in rows)
    assert all(row[f"ml_pair_{int(row['id'][1:]) // 2}"] == 0.5 for row in rows)
    assert sum(row["ml_pair_7"] is not None for row in rows) == 2
    left_out = left_out_of(loaded.rows)
    assert (left_out.rare, left_out.rare_examples[:2]) == (2000, ("runner_0_1", "runner_0_10"))
    assert loaded.violations.empty


LONG = 3 << 20
"""Characters: three blocks."""


def test_a_value_longer_than_a_block_is_read(database: Settings, ours: psycopg.Connection) -> None:
    for number in range(3):
        insert(ours, number)
        features(ours, number, json.dumps({"note": "n" * LONG, "avg_odds": number} if number == 1 else {"avg_odds": 0}))
    ours.execute("DROP INDEX backtest_results_strategy_id_method_start_date_idx")  # it cannot hold so long a text
    ours.execute("UPDATE backtest_results SET strategy_id = repeat('s', %s) WHERE id = 'r2'", [LONG])
    ours.execute("UPDATE backtest_results SET full_results = to_jsonb(repeat('f', %s)) WHERE id = 'r0'", [LONG])
    rows = load(database).rows.sort_by("id")
    assert rows["ml_avg_odds"].to_pylist() == [0, 1, 0]
    assert [len(text) for text in rows["strategy_id"].to_pylist()] == [2, 2, LONG]
    assert left_out_of(rows).non_numeric["note"].values == 1


def test_a_long_text_for_a_number_goes_to_quarantine(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    insert(ours, 2)
    ours.execute("ALTER TABLE backtest_results ALTER COLUMN win_rate TYPE text")
    ours.execute("UPDATE backtest_results SET win_rate = repeat('9', %s) || 'x' WHERE id = 'r2'", [LONG])
    loaded = load(database)
    assert loaded.rows["id"].to_pylist() == ["r1"]
    assert loaded.violations[["id", "column"]].to_numpy().tolist() == [["r2", "win_rate"]]
    assert loaded.violations["value"].str.len().tolist() == [LONGEST_VALUE]


def test_a_limit_of_the_server_is_no_passing_fault(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    ours.execute("ALTER TABLE backtest_results RENAME TO base")
    ours.execute(
        "CREATE FUNCTION refused() RETURNS text LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'too wide' USING ERRCODE = '54011'; END $$"
    )
    ours.execute(f"CREATE VIEW backtest_results AS SELECT {COLUMNS.replace('method', 'refused() AS method')} FROM base")
    with pytest.raises(DatabaseError, match=r"too wide.*PostgreSQL itself has this limit") as error:
        load(database)
    assert not isinstance(error.value, DatabaseUnavailable)


def test_the_large_column_is_never_read(database: Settings, ours: psycopg.Connection) -> None:
    """A role that may read every column but `full_results` can load."""
    insert(ours, 1)
    ours.execute("CREATE ROLE narrow LOGIN PASSWORD 'secret'")
    listed = COLUMNS.replace("total_return", "total_return, initial_capital, final_capital, ml_features")
    ours.execute(f"GRANT SELECT ({listed}) ON backtest_results TO narrow")
    ours.execute("GRANT SELECT ON ml_features TO narrow")
    try:
        assert database.database_url is not None
        rest = database.database_url.get_secret_value().partition("@")[2]
        url = SecretStr(f"postgresql://narrow:secret@{rest}")
        narrow = database.model_copy(update={"database_url": url})
        assert load(narrow).rows.num_rows == 1
    finally:
        ours.execute("DROP OWNED BY narrow")
        ours.execute("DROP ROLE narrow")


def test_an_index_serves_a_month(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    query = RowQuery(resolve_source(database), *pd.to_datetime(["2023-01-01", "2023-02-01"], utc=True))
    ours.execute("SET enable_seqscan = off")
    plan = ours.execute("EXPLAIN " + query.select().as_string(ours)).fetchall()
    assert "backtest_results_end_date_idx" in str(plan)


def test_months_close_at_one_instant_whatever_the_servers_zone(database: Settings, ours: psycopg.Connection) -> None:
    for number, end in enumerate(
        ["2023-02-01T12:59:59Z", "2023-02-01T13:00:00Z", "2023-02-01T00:00:00-10:00", "infinity"]
    ):
        insert(ours, number, end=end)
    ours.execute(f"ALTER DATABASE {ours.info.dbname} SET TimeZone = 'Australia/Sydney'")
    assert month_counts(database, resolve_source(database)) == {"2023-01": 2, "2023-02": 1}
    assert load(database, "2023-02-01 13:00", "2023-03-01").rows["id"].to_pylist() == ["r1"]


def test_a_dropped_connection_is_an_error_not_fewer_rows(database: Settings, ours: psycopg.Connection) -> None:
    insert(ours, 1)
    ours.execute("ALTER TABLE backtest_results RENAME TO base")
    ours.execute(
        f"CREATE VIEW backtest_results AS SELECT {COLUMNS} FROM base, generate_series(1, 5000) "
        f"UNION ALL SELECT {COLUMNS} FROM base WHERE 1 / (total_bets - 40) > 0"
    )
    with pytest.raises(DatabaseError, match="stopped sending rows: division by zero"):
        load(database)
