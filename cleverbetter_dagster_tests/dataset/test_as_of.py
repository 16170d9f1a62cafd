"""The month a model stands at."""

from zoneinfo import ZoneInfo, available_timezones

import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf, month_keys, months_of
from cleverbetter_dagster.errors import DataError


def test_a_month_ends_where_the_next_one_starts() -> None:
    december = AsOf.parse("2023-12")
    assert december.start == pd.Timestamp("2023-12-01 13:00", tz="UTC") == december.plus(-1).end
    assert december.end == pd.Timestamp("2024-01-01 13:00", tz="UTC")


def test_key_and_parse_are_inverse() -> None:
    assert AsOf.parse("1999-01").key == "1999-01"
    assert str(AsOf(2023, 7)) == "2023-07"


def test_months_are_counted_across_years() -> None:
    december = AsOf(2023, 12)
    assert [december.plus(n).key for n in (1, 0, -1, 13, -12)] == [
        "2024-01",
        "2023-12",
        "2023-11",
        "2025-01",
        "2022-12",
    ]
    assert [month - december for month in (AsOf(2025, 1), december, AsOf(2022, 11))] == [13, 0, -13]


def test_a_range_holds_both_ends() -> None:
    assert month_keys("2023-11", "2024-01") == ["2023-11", "2023-12", "2024-01"]
    assert AsOf.range(AsOf(2023, 5), AsOf(2023, 5)) == [AsOf(2023, 5)]
    assert AsOf.range(AsOf(2023, 5), AsOf(2023, 4)) == []


def test_months_of_a_column_are_those_of_each_time() -> None:
    times = pd.date_range("1999-11-20", "2002-03-03", freq="11D", tz="Australia/Sydney")
    assert months_of(times).astype(str).tolist() == [AsOf.of(time).key for time in times]
    assert months_of(pd.Series(times)).tolist() == months_of(times).tolist()


def test_months_are_ordered_in_time() -> None:
    assert sorted(map(AsOf.parse, ["2024-01", "2023-02", "2023-11"])) == [AsOf(2023, 2), AsOf(2023, 11), AsOf(2024, 1)]


def test_a_window_until_midnight_is_in_the_month_it_covers() -> None:
    covered = month_keys("1990-01", "2030-12")
    midnights = [AsOf.parse(month).end.replace(tzinfo=None, hour=0).to_pydatetime() for month in covered]
    for zone in sorted(available_timezones()):
        ends = pd.to_datetime([midnight.replace(tzinfo=ZoneInfo(zone)) for midnight in midnights], utc=True)
        assert months_of(ends).astype(str).tolist() == covered, zone
        assert months_of(ends - pd.Timedelta(seconds=1)).astype(str).tolist() == covered, zone


def test_a_month_holds_what_ends_between_its_bounds() -> None:
    december, instant = AsOf(2023, 12), pd.Timedelta(microseconds=1)
    moments = [december.start - instant, december.start, december.end - instant, december.end]
    assert [AsOf.of(moment).key for moment in moments] == ["2023-11", "2023-12", "2023-12", "2024-01"]
    assert months_of(pd.DatetimeIndex(moments)).astype(str).tolist() == [AsOf.of(moment).key for moment in moments]


@pytest.mark.parametrize("key", ["2023-13", "2023-00", "2023-1", "202312", "2023-12-01", "", "2023-12\n", "٢٠٢٣-12"])
def test_a_text_that_is_no_month_is_refused(key: str) -> None:
    with pytest.raises(DataError, match="YYYY-MM"):
        AsOf.parse(key)


@pytest.mark.parametrize(("year", "month"), [(1500, 1), (2262, 1), (2023, 13), (2023, 0)])
def test_a_month_outside_timestamps_is_refused(year: int, month: int) -> None:
    with pytest.raises(DataError, match=r"1678\.\.2261"):
        AsOf(year, month)


def test_a_moment_without_a_timezone_is_refused() -> None:
    with pytest.raises(DataError, match="no timezone"):
        AsOf.of(pd.Timestamp("2024-01-01"))
