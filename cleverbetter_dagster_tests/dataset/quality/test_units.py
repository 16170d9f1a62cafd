"""Columns in other units become canonical ones, exactly."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.quality.units import NEGATED, PERCENT, scaled


def one(values: pa.Array, factor: Decimal = PERCENT) -> list[object]:
    result: list[object] = scaled(pa.table({"x": values, "y": values}), {"x": factor})["x"].to_pylist()
    return result


@pytest.mark.parametrize(
    ("written", "fraction"),
    [
        (pa.array([35.0, 7.0, None]), [0.35, 0.07, None]),
        (pa.array([35, -100]), [0.35, -1.0]),
        (pa.array([Decimal("0.35")]), [0.0035]),
        (pa.array(["37.5 %", " 1e1", "many", "", None]), ["0.375", "0.1", "many", "", None]),
        (pa.array(["35", "35"]).dictionary_encode(), ["0.35", "0.35"]),
        (pa.array([float("inf"), -0.0]), [float("inf"), -0.0]),
        (pa.array(["1e999999999"]), ["1e999999999"]),
        (pa.array([[1.0]]), [[1.0]]),
        (pa.array([True]), [True]),
    ],
)
def test_a_value_in_per_cent_becomes_its_fraction(written: pa.Array, fraction: list[object]) -> None:
    assert one(written) == fraction


def test_only_the_named_columns_are_scaled() -> None:
    table = scaled(pa.table({"a": [1.0], "b": [2.0]}), {"b": NEGATED})
    assert table.to_pydict() == {"a": [1.0], "b": [-2.0]}


@given(st.integers(-(10**9), 10**9))
def test_scaling_gives_what_the_fraction_itself_reads_as(millionths: int) -> None:
    fraction, per_cent = Decimal(millionths).scaleb(-6), Decimal(millionths).scaleb(-4)
    assert one(pa.array([float(per_cent)])) == [float(fraction)]
    assert one(pa.array([str(per_cent)])) == [repr(float(fraction))]
