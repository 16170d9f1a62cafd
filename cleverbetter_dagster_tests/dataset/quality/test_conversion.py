"""What values of any type become."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.quality.conversion import canonical_types


def converted(name: str, values: pa.Array | list[Any]) -> tuple[list[Any], list[int]]:
    """The values as the canonical column `name`, and the positions of those that cannot be read."""
    table, violations = canonical_types(pa.table({name: values}))
    return table[name].to_pylist(), violations["position"].tolist()


def test_a_number_as_text_is_the_nearest_float() -> None:
    texts = ["0.35", "9007199254740993", "1e-999", "5e-324", "+2", " 3 ", ".5", "5.", "-0"]
    values, unread = converted("roi", texts)
    assert [value.hex() for value in values] == [float(text).hex() for text in texts]
    assert unread == []


@pytest.mark.parametrize("text", ["1_000", "0x10", "1,5", "١٢", "1e999", "1e", "--1", "1 2", "true"])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert converted("roi", ["0.5", text]) == ([0.5, None], [1])


@pytest.mark.parametrize("text", ["now", "today", "epoch", "infinity", "allballs", "2023", "2023-13-01", "1/2/2023"])
def test_words_and_other_forms_are_no_dates(text: str) -> None:
    assert converted("end_date", ["2023-01-02", text]) == ([datetime(2023, 1, 2, tzinfo=UTC), None], [1])


@pytest.mark.parametrize(
    ("text", "microsecond", "hour"),
    [
        ("2023-01-02T03:00:00.123456789Z", 123456, 3),
        ("20230102T030000,5", 500000, 3),
        ("2023-01-02 03:00:00+00", 0, 3),
        ("2023-01-02 08:30:00 +0530", 0, 3),
        ("2023-01-02 03:00 z", 0, 3),
        ("2023-01-02", 0, 0),
    ],
)
def test_forms_of_iso_8601_may_be_mixed(text: str, microsecond: int, hour: int) -> None:
    values, unread = converted("end_date", ["2023-01-02T00:00:00+01:00", text])
    assert (values[1], unread) == (datetime(2023, 1, 2, hour, 0, 0, microsecond, tzinfo=UTC), [])


@pytest.mark.parametrize("seconds", [2**60, 253402300800, -62135596801])
def test_an_instant_outside_years_1_to_9999_is_unreadable(seconds: int) -> None:
    instants = pa.array([seconds, 0, None], pa.timestamp("s"))
    assert converted("end_date", instants) == ([None, datetime(1970, 1, 1, tzinfo=UTC), None], [0])


def test_an_id_is_text_or_a_whole_number() -> None:
    assert converted("id", pa.array([b"r1", b"\xff", b"\\x41", None])) == (["r1", None, "\\x41", None], [1])
    assert converted("id", pa.array([7.0, 7.5, 1e300])) == (["7", None, None], [1, 2])
    assert converted("id", pa.array([Decimal("7.00"), Decimal("7.50")])) == (["7", None], [1])


@given(st.lists(st.floats(width=64), min_size=1), st.sampled_from(["{!r}", "{:.17g}", "{:+.20e}", " {!r}"]))
def test_a_float_survives_being_written(numbers: list[float], form: str) -> None:
    values, unread = converted("roi", [form.format(number) for number in numbers])
    assert ([value.hex() for value in values], unread) == ([number.hex() for number in numbers], [])


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**20), max_value=10**20)))
def test_a_decimal_becomes_the_float_of_its_text(numbers: list[Decimal]) -> None:
    assert converted("roi", pa.array(numbers, pa.decimal128(38, 9))) == ([float(str(n)) for n in numbers], [])


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.timezones()))
def test_an_instant_survives_being_written_with_its_zone(instant: datetime) -> None:
    assert converted("end_date", ["2023-01-02", instant.isoformat()])[0][1] == instant.astimezone(UTC)
