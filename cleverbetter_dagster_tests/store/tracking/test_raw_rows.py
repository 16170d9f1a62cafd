"""Rows copied out of PostgreSQL as CSV are scored as the same rows read by the loader, to the bit."""

import io
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.schema import ID, rows_frame
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.giving_way import read_session
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_rows
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster.store.tracking.client import mlflow_client, tracking_uri
from cleverbetter_dagster.store.tracking.package import StrategyModel, log_model
from cleverbetter_dagster.store.tracking.raw_rows import canonical_rows
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.store.tracking.test_package import LinearModel
from cleverbetter_dagster_tests.support.provenance import NOTHING_LEARNED

MARKET = ("ml_avg_odds", "ml_night", "ml_volume")

# 24 windows of four strategies: every third end has a fraction, every fifth row no capital, every seventh no features.
RESULTS = """
INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, initial_capital, final_capital,
    total_return, sharpe_ratio, max_drawdown, total_bets, win_rate, profit_factor, method, composite_score, created_at)
SELECT (1000 + n)::text, (7 + n % 4)::text, ends + interval '2 hours', starts, ends,
       CASE WHEN n % 5 > 0 THEN 1000 END, NULL, (n - 11) / 97.0, (n * 7 % 13) / 3.0, n / 71.0, n * 3 + 3, n / 37.0,
       1 + n / 7.0, CASE n % 2 WHEN 0 THEN 'replay' ELSE '' END, n / 31.0, ends + interval '3 hours'
FROM (SELECT n, '2023-01-01 00:00+00'::timestamptz + n / 4 * interval '30 days' AS starts,
             '2023-01-30 23:59:59+00'::timestamptz + n / 4 * interval '30 days'
                 + CASE n % 3 WHEN 0 THEN interval '0.123456 s' ELSE interval '0' END AS ends
      FROM generate_series(0, 23) n) windows"""
FEATURES = """
INSERT INTO ml_features
SELECT (1000 + n)::text, now(), jsonb_build_object('avg_odds', 1 + n / 0.7::float8, 'night', n % 2 = 0,
    'volume', CASE WHEN n = 3 THEN 9007199254740993 ELSE n END, 'track', 'AU')
FROM generate_series(0, 23) n WHERE n % 7 > 0"""
COPY = """COPY (SELECT r.*, {features} FROM backtest_results r LEFT JOIN ml_features f ON f.backtest_result_id = r.id
    ORDER BY r.created_at DESC) TO STDOUT (FORMAT csv, HEADER)"""
AS_JSON = "f.features"
AS_COLUMNS = """(f.features->>'avg_odds')::numeric AS ml_avg_odds, (f.features->>'night')::boolean AS ml_night,
    (f.features->>'volume')::bigint AS ml_volume"""


@pytest.fixture
def filled(tracked: Settings) -> Iterator[Settings]:
    ensure_source_tables(tracked)
    with closing(psycopg_connect(tracked, "rows", autocommit=True)) as connection:
        connection.execute(RESULTS)
        connection.execute(FEATURES)
        yield tracked
        connection.execute("TRUNCATE backtest_results, ml_features")


def copied(settings: Settings, features: str = AS_JSON, zone: str = "UTC", **how: object) -> pd.DataFrame:
    """What `psql`'s `\\copy ... csv header` writes in a session of the time zone, as pandas reads it."""
    with closing(psycopg_connect(settings, "rows")) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET TimeZone = '{zone}'")
        with cursor.copy(COPY.format(features=features)) as copy:
            text = b"".join(bytes(block) for block in copy).decode()
    return pd.read_csv(io.StringIO(text), **how)  # type: ignore[call-overload, no-any-return]


def loaded(settings: Settings) -> pd.DataFrame:
    query = RowQuery(resolve_source(settings))
    with read_session(settings) as session:
        rows, violations = load_rows(session, query, pd.Timestamp("2024-06-01", tz="UTC"))
    assert violations.empty
    return rows_frame(rows)


READ_EXACTLY = {"float_precision": "round_trip"}


@pytest.mark.parametrize("how", [READ_EXACTLY, {"dtype": str}], ids=["numbers", "texts"])
@pytest.mark.parametrize("features", [AS_JSON, AS_COLUMNS], ids=["json", "columns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_postgresqls_csv_becomes_what_the_loader_reads(
    filled: Settings, how: dict[str, object], features: str, zone: str
) -> None:
    rows = copied(filled, features, zone, **how)
    offset = {"UTC": "+00", "Asia/Kolkata": "+05:30"}[zone]
    assert rows["end_date"].str.endswith(offset).all()
    assert set(rows["end_date"].str.contains(".", regex=False)) == {True, False}
    canonical = canonical_rows(rows, MARKET).set_index(ID).sort_index()
    expected = loaded(filled).set_index(ID).sort_index()[canonical.columns]
    pd.testing.assert_frame_equal(canonical, expected, check_exact=True)
    assert canonical["ml_volume"].tolist()[3] == 9007199254740992.0
    assert np.isnan(canonical["ml_night"].tolist()[7]) and canonical["ml_night"].tolist()[8] == 1.0


def test_mlflows_own_loading_scores_postgresqls_csv(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    fitted = LinearModel()
    fitted.feature_names = ("win_rate", "ewm_roi", *MARKET[:2])
    model = StrategyModel(fitted, DatasetSpec(), NOTHING_LEARNED)
    with start_run(filled, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, model)
    expected = model.predict(loaded(filled).set_index(ID, drop=False))
    assert filled.database_url is not None
    monkeypatch.setenv("DATABASE_URL", filled.database_url.get_secret_value())
    mlflow.set_tracking_uri(tracking_uri(filled))
    try:
        packaged = mlflow.pyfunc.load_model(packed.model_uri)
    finally:
        mlflow.set_tracking_uri(None)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow leaves it there
    for features in (AS_JSON, AS_COLUMNS):
        rows = copied(filled, features, **READ_EXACTLY)
        assert rows["strategy_id"].dtype == rows[ID].dtype == np.int64
        scored = packaged.predict(rows).set_axis(rows[ID].astype(str).tolist())
        pd.testing.assert_frame_equal(scored, expected.loc[scored.index], check_exact=True, check_names=False)
    assert mlflow_client(filled).get_experiment("0").name == "Default"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("end_date", "yesterday", "Row 3, id '3': end_date is not a date: write ISO 8601, such as"),
        ("end_date", "infinity", "Row 3, id '3': end_date is not a date"),
        ("start_date", None, "Row 3, id '3': start_date is missing"),
        ("strategy_id", None, "Row 3, id '3': strategy_id is missing"),
        ("win_rate", "often", "Row 3, id '3': win_rate is not a number: write digits with a decimal point"),
        ("features", "[1]", r"Row 3: features is no JSON object, got '\[1\]'"),
        ("features", "{", "Row 3: features is no JSON object, got '{'"),
    ],
)
def test_an_unreadable_value_is_named_with_its_row(column: str, value: str | None, message: str) -> None:
    rows = pd.DataFrame(
        {
            "id": ["1", "2", "3", "4"],
            "strategy_id": "s",
            "start_date": "2023-11-01 00:00:00+00",
            "end_date": "2023-11-30 23:59:59.5+00",
            "win_rate": "0.5",
            "ml_avg_odds": 3.5,
            "features": "{}",
        }
    ).astype(object)
    rows.loc[2, column] = value
    with pytest.raises(DataError, match=message) as refused:
        canonical_rows(rows, ["ml_avg_odds"])
    assert value is None or value in str(refused.value)


def test_values_of_several_kinds_in_one_column_are_read() -> None:
    rows = pd.DataFrame({"win_rate": [0.5, "0.25", None, 1], "ml_a": [True, "f", "", 2], "ml_b": None}, dtype=object)
    canonical = canonical_rows(rows, ["ml_a", "ml_b"])
    assert canonical["win_rate"].tolist()[:2] == [0.5, 0.25] and canonical["win_rate"].isna().tolist()[2]
    assert canonical["ml_a"].fillna(-1.0).tolist() == [1.0, 0.0, -1.0, 2.0]
    assert canonical["ml_b"].isna().all()
    assert list(canonical.columns) == ["method", "win_rate", "ml_a", "ml_b"]


def test_a_feature_comes_from_its_column_then_from_json() -> None:
    rows = pd.DataFrame(
        {
            "ml_a": [1.5, None, None],
            "features": ['{"a": 9}', {"a": 2.5}, None],
            "ml_features": [None, '{"a": 8}', '{"a": 0.1, "b": null}'],
        }
    )
    assert canonical_rows(rows, ["ml_a"])["ml_a"].tolist() == [1.5, 2.5, 0.1]
