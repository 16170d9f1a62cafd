"""The month a model stands at."""

import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import DataError


def test_a_month_starts_at_its_first_instant_and_ends_at_the_next_ones_in_utc() -> None:
    december = AsOf.parse("2023-12")
    assert december.start == pd.Timestamp("2023-12-01", tz="UTC")
    assert december.end == pd.Timestamp("2024-01-01", tz="UTC")


def test_key_and_parse_are_inverse() -> None:
    assert AsOf.parse("1999-01").key == "1999-01"
    assert str(AsOf(2023, 7)) == "2023-07"


def test_next_and_previous_cross_the_year() -> None:
    assert AsOf.parse("2023-12").next() == AsOf.parse("2024-01")
    assert AsOf.parse("2024-01").previous() == AsOf.parse("2023-12")


def test_months_are_ordered_in_time() -> None:
    assert sorted(map(AsOf.parse, ["2024-01", "2023-02", "2023-11"])) == [AsOf(2023, 2), AsOf(2023, 11), AsOf(2024, 1)]


def test_a_moment_falls_into_its_month_in_utc() -> None:
    assert AsOf.of(pd.Timestamp("2024-01-01 10:00", tz="Australia/Sydney")) == AsOf(2023, 12)


@pytest.mark.parametrize("key", ["2023-13", "2023-00", "2023-1", "202312", "2023-12-01", "", "2023-12\n"])
def test_what_is_no_month_is_refused_by_name(key: str) -> None:
    with pytest.raises(DataError, match="YYYY-MM"):
        AsOf.parse(key)


@pytest.mark.parametrize(("year", "month"), [(1500, 1), (2262, 1), (2023, 13), (2023, 0)])
def test_a_month_no_timestamp_can_hold_is_refused(year: int, month: int) -> None:
    with pytest.raises(DataError, match=r"1678\.\.2261"):
        AsOf(year, month)


def test_a_moment_without_a_timezone_is_refused() -> None:
    with pytest.raises(DataError, match="no timezone"):
        AsOf.of(pd.Timestamp("2024-01-01"))
