"""Which rows cannot be right, and the reason for each."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.quality.rules import examine, first_due
from cleverbetter_dagster.dataset.schema import BOUNDS, REQUIRED, TIMESTAMP, UNDEFINED_AT_TIMES, column_type
from cleverbetter_dagster_tests.support.upstream_rows import upstream_results

NOW = pd.Timestamp("2023-06-01", tz="UTC")


def rows(count: int = 3, **changed: list[Any] | pa.Array) -> pa.Table:
    """Canonical rows without capitals, which would contradict a changed return."""
    frame = upstream_results(count).rename(columns={"total_return": "roi"})
    frame = frame.drop(columns=["recommendation", "initial_capital", "final_capital"])
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for name, values in changed.items():
        array = values if isinstance(values, pa.Array) else pa.array(values)
        place = table.column_names.index(name) if name in table.column_names else table.num_columns
        table = table.set_column(place, name, array) if place < table.num_columns else table.append_column(name, array)
    return table


def cells(violations: pd.DataFrame) -> list[tuple[int, str, str]]:
    return list(violations[["position", "column", "value"]].itertuples(index=False, name=None))


def test_rows_that_can_be_right_pass_as_they_are() -> None:
    good, violations = examine(rows(), NOW)
    assert good.num_rows == 3
    assert violations.empty
    assert good.column("end_date").type == TIMESTAMP
    assert good.column("total_bets").to_pylist() == [40.0, 40.0, 40.0]


@pytest.mark.parametrize(
    ("column", "bad", "because"),
    [
        ("win_rate", 1.01, "must be within 0..1"),
        ("win_rate", 42.0, "must be within 0..1"),
        ("win_rate", -0.01, "must be within 0..1"),
        ("max_drawdown", -0.25, "must be within 0..1"),
        ("max_drawdown", 1.5, "must be within 0..1"),
        ("total_bets", -1.0, "must be at least 0"),
        ("total_bets", 10.5, "must be a whole number"),
        ("roi", -1.01, "must be at least -1"),
        ("profit_factor", -0.5, "must be at least 0"),
        ("roi", float("nan"), "is NaN or infinite"),
        ("roi", float("inf"), "is NaN or infinite"),
        ("win_rate", None, "is missing"),
        ("max_drawdown", None, "is missing"),
        ("total_bets", float("nan"), "is NaN or infinite"),
    ],
)
def test_an_impossible_number_is_named_with_its_reason(column: str, bad: float | None, because: str) -> None:
    good, violations = examine(rows(**{column: pa.array([1.0, bad, 1.0], pa.float64())}), NOW)
    assert good.column("id").to_pylist() == ["r1", "r3"]
    assert len(violations) == 1
    violation = violations.iloc[0]
    assert (violation["position"], violation["id"], violation["column"]) == (1, "r2", column)
    assert violation["value"] is None if bad is None else float(violation["value"]) == pytest.approx(bad, nan_ok=True)
    assert because in violation["reason"]


@pytest.mark.parametrize(
    ("column", "bad", "because"),
    [
        ("end_date", "2022-12-31T00:00:00Z", "is before start_date"),
        ("run_date", "2022-12-31T00:00:00Z", "is before start_date"),
        ("start_date", "1970-01-01T00:00:00Z", "is before 1990"),
        ("run_date", "2023-06-03T00:00:00Z", "is in the future"),
        ("end_date", "2025-01-01T00:00:00Z", "is in the future"),
        ("start_date", "2023-02-30", "is not a date"),
        ("created_at", "31/01/2023", "is not a date"),
        ("run_date", "infinity", "is not a date"),
        ("start_date", "", "is missing"),
    ],
)
def test_an_impossible_date_is_named_with_its_reason(column: str, bad: str, because: str) -> None:
    fine = rows().column(column).cast(pa.string()).to_pylist()
    good, violations = examine(rows(**{column: [bad, *fine[1:]]}), NOW)
    assert good.column("id").to_pylist() == ["r2", "r3"]
    assert violations["column"].tolist() == [column]
    assert because in violations["reason"].item()


def test_a_window_may_end_after_its_backtest_and_today() -> None:
    good, violations = examine(rows(1, end_date=[pd.Timestamp("2023-06-30", tz="UTC")]), NOW)
    assert (good.num_rows, len(violations)) == (1, 0)


@pytest.mark.parametrize(("column", "sentinel"), [("profit_factor", 999.0), ("sharpe_ratio", -999.0)])
def test_sentinels_are_no_violations_and_are_kept(column: str, sentinel: float) -> None:
    good, violations = examine(rows(1, **{column: [sentinel]}), NOW)
    assert violations.empty
    assert good.column(column).to_pylist() == [sentinel]


def test_an_unreadable_number_is_quoted_and_not_missing() -> None:
    good, violations = examine(rows(roi=["0.5", " -0.25 ", "n/a"], total_bets=["7", "1e1", "many"]), NOW)
    assert good.column("roi").to_pylist() == [0.5, -0.25]
    assert good.column("total_bets").to_pylist() == [7.0, 10.0]
    assert cells(violations) == [(2, "roi", "n/a"), (2, "total_bets", "many")]


def test_dates_as_text_may_have_any_zone_or_none() -> None:
    good, violations = examine(rows(start_date=["2023-01-01", "2023-02-01T02:00:00+02:00", "2023-03-01 00:00:00"]), NOW)
    assert violations.empty
    assert good.column("start_date").to_pylist() == rows().column("start_date").to_pylist()


def test_market_features_are_finite_numbers_booleans_or_missing() -> None:
    table = rows(4, ml_a=["true", "", "NaN", "high"], ml_b=[1.0, None, float("inf"), 2.0])
    good, violations = examine(table, NOW)
    assert good.column("ml_a").to_pylist() == [1.0, None]
    assert cells(violations) == [(2, "ml_b", "inf"), (3, "ml_a", "high")]


def test_a_repeated_row_is_kept_once_a_conflict_refused() -> None:
    table = rows(5, id=["a", "b", "b", "c", "c"])
    table = pa.concat_tables([table.slice(0, 4), table.slice(3, 1)])
    good, violations = examine(table, NOW)
    assert good.column("id").to_pylist() == ["a", "c"]
    assert cells(violations) == [(1, "id", "b"), (2, "id", "b")]


def test_a_row_needs_an_id_but_no_method() -> None:
    good, violations = examine(rows(id=["r1", "", None], method=[None, "x", "x"]), NOW)
    assert good.column("method").to_pylist() == [""]
    assert cells(violations) == [(1, "id", None), (2, "id", None)]


def test_a_value_unreadable_elsewhere_is_reported_once() -> None:
    elsewhere = pd.DataFrame(
        {"position": [1], "id": ["r2"], "column": ["roi"], "value": ["?"], "reason": ["roi is not a number"]}
    )
    good, violations = examine(rows(roi=[0.1, None, 0.2]), NOW, elsewhere)
    assert good.column("id").to_pylist() == ["r1", "r3"]
    assert cells(violations) == [(1, "roi", "?")]


def test_no_rows_are_no_violations() -> None:
    good, violations = examine(rows(0), NOW)
    assert good.num_rows == 0
    assert violations.empty


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=8),
    st.sampled_from(list(BOUNDS)),
)
def test_every_row_is_either_good_or_has_a_violation(values: list[float], column: str) -> None:
    good, violations = examine(rows(len(values), **{column: values}), NOW + pd.Timedelta(days=365))
    bad = {f"r{position + 1}" for position in violations["position"]}
    assert bad.isdisjoint(good.column("id").to_pylist())
    assert len(bad) + good.num_rows == len(values)
    assert np.isfinite(good.column(column).drop_null().to_numpy()).all()


def test_good_rows_have_every_required_value() -> None:
    broken = {name: pa.array([None, None], column_type(name)) for name in REQUIRED if name != "method"}
    for name, nothing in broken.items():
        good, violations = examine(rows(2, **{name: nothing}), NOW)
        undefined_at_times = name in UNDEFINED_AT_TIMES
        assert good.num_rows == (2 if undefined_at_times else 0)
        assert set(violations["column"]) == (set() if undefined_at_times else {name})


@pytest.mark.parametrize("column", ["start_date", "end_date", "run_date", "created_at"])
@pytest.mark.parametrize("year", [2263, 2600, 9999])
def test_a_year_beyond_nanoseconds_is_in_the_future(column: str, year: int) -> None:
    instants = [pd.Timestamp(f"{year}-12-31", tz="UTC").to_pydatetime(), *rows(2).column(column).to_pylist()]
    good, violations = examine(rows(3, **{column: pa.array(instants, TIMESTAMP)}), NOW)
    assert "r1" not in good.column("id").to_pylist()
    assert violations.iloc[0]["reason"] == f"{column} is in the future: no backtest can know it"
    if column in ("run_date", "created_at"):  # a clock may be a day ahead
        assert first_due(violations) == pd.Timestamp(year=year, month=12, day=30, tz="UTC")
