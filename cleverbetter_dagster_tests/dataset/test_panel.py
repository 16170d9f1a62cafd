"""The panel holds the latest known run of every window; its order does not depend on the order of the rows."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.features import feature_columns
from cleverbetter_dagster.dataset.panel import build_panel, feature_frame
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster_tests.dataset.oracle import Row
from cleverbetter_dagster_tests.dataset.panels import EPOCH, empty_rows, example_row, frame, spec


def ids(rows: list[Row], as_of_day: int | None = None, **options: object) -> list[str]:
    end = None if as_of_day is None else pd.Timestamp(EPOCH) + pd.Timedelta(days=as_of_day)
    return build_panel(frame(rows), end, spec(**options))["id"].tolist()


def test_a_row_decided_at_the_end_is_not_known() -> None:
    rows = [example_row(id="a", end_day=9), example_row(id="b", end_day=10)]
    assert ids(rows, as_of_day=10) == ["a"]
    assert ids(rows, as_of_day=11) == ["a", "b"]


def test_of_a_windows_runs_the_latest_counts() -> None:
    rows = [
        example_row(id="a", run_day=30),
        example_row(id="b", run_day=40),
        example_row(id="c", run_day=20),
    ]
    assert ids(rows) == ["b"]


def test_of_two_equal_runs_the_one_written_later_counts() -> None:
    noon, one = EPOCH + pd.Timedelta(hours=12), EPOCH + pd.Timedelta(hours=13)
    assert ids([example_row(id="a", created_at=one), example_row(id="b", created_at=noon)]) == ["a"]
    assert ids([example_row(id="a", created_at=None), example_row(id="b", created_at=noon)]) == ["b"]
    assert ids([example_row(id="a", created_at=noon), example_row(id="b", created_at=None)]) == ["a"]
    assert ids([example_row(id="b"), example_row(id="a")]) == ["b"]


def test_another_method_is_another_window_not_another_run() -> None:
    assert ids([example_row(id="a", method="monte_carlo"), example_row(id="b", run_day=30)]) == ["a", "b"]


def test_a_later_run_does_not_replace_a_known_one() -> None:
    rows = [example_row(id="first", run_day=20), example_row(id="again", run_day=40)]
    assert ids(rows, as_of_day=30, decision_time="run_date") == ["first"]
    assert ids(rows, as_of_day=50, decision_time="run_date") == ["again"]


def test_rows_are_sorted_on_a_fresh_index() -> None:
    rows = [
        example_row(id="d", strategy_id="lure"),
        example_row(id="c", start_day=2),
        example_row(id="b", start_day=1, method="z"),
        example_row(id="a", start_day=1, run_day=30),
        example_row(id="e", end_day=5),
    ]
    panel = build_panel(frame(rows), None, spec())
    assert panel["id"].tolist() == ["e", "a", "b", "c", "d"]
    assert panel.index.equals(pd.RangeIndex(5))


def test_the_rows_given_are_left_as_they_were() -> None:
    rows = frame([example_row(id="a", profit_factor=999.0, ml_avg_odds=-999.0), example_row(id="b", run_day=30)])
    before = rows.copy(deep=True)
    build_panel(rows, None, spec())
    feature_frame(rows, spec())
    pd.testing.assert_frame_equal(rows, before, check_exact=True)


def test_no_rows_make_an_empty_panel_with_every_column() -> None:
    full = build_panel(frame([example_row()]), None, spec())
    for empty in (
        build_panel(empty_rows(), None, spec()),
        build_panel(frame([example_row()]), pd.Timestamp(EPOCH), spec()),
    ):
        assert len(empty) == 0
        assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert feature_frame(empty_rows(), spec()).shape == (0, len(feature_columns(full)))


def test_dates_of_another_zone_and_precision_mean_the_same_moments() -> None:
    rows = frame([example_row(id="a"), example_row(id="b", start_day=10, end_day=20)])
    zoned = rows.copy()
    for date in ("run_date", "start_date", "end_date"):
        zoned[date] = zoned[date].dt.as_unit("ns").dt.tz_convert("Australia/Sydney")
    pd.testing.assert_frame_equal(build_panel(rows, None, spec()), build_panel(zoned, None, spec()), check_exact=True)
    assert feature_frame(zoned, spec())["windows_seen"].tolist() == [1.0, 2.0]


def test_rows_that_are_not_canonical_are_refused() -> None:
    rows = frame([example_row(id="a"), example_row(id="b", end_day=20)])
    with pytest.raises(DataError, match=r"lack roi, total_bets"):
        build_panel(rows.drop(columns=["roi", "total_bets"]), None, spec())
    with pytest.raises(DataError, match="'a' occurs more than once"):
        build_panel(rows.assign(id="a"), None, spec())
    with pytest.raises(DataError, match="end_date carry no timezone"):
        build_panel(rows.assign(end_date=rows["end_date"].dt.tz_localize(None)), None, spec())


def test_all_runs_of_a_window_get_the_latest_features() -> None:
    rows = frame([example_row(id="again", run_day=30, roi=0.2), example_row(id="first", roi=0.1)])
    features = feature_frame(rows, spec())
    assert features["roi"].tolist() == [0.2, 0.2]
    assert features.index.tolist() == rows.index.tolist()
    assert np.isfinite(features).all(axis=None)
