"""Texts and JSON of Arrow columns."""

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.quality.arrow_values import json_rows, json_texts, plain, plain_table, texts

NUMBERS = pa.struct([("a", pa.float64()), ("b", pa.int64())])


def in_chunks(*arrays: pa.Array) -> pa.ChunkedArray:
    return pa.chunked_array(arrays)


def test_json_keeps_every_digit() -> None:
    column = in_chunks(pa.array([{"n": 2**63 - 1, "d": Decimal("0.10"), "f": 0.1}]))
    assert json_texts(column).to_pylist() == ['{"n":9223372036854775807,"d":0.10,"f":0.1}']


def test_an_object_without_members_stays_a_row() -> None:
    rows = [{"a": None, "b": None}, None, {"a": 1.5, "b": 2}]
    assert json_texts(in_chunks(pa.array(rows, NUMBERS))).to_pylist() == ["{}", None, '{"a":1.5,"b":2}']


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_lists_of_every_kind_are_json_arrays(kind: Any) -> None:
    array = pa.array([[9], [1, None], None, [], [3, 4]], kind(pa.int64()))
    assert json_texts(in_chunks(array.slice(1))).to_pylist() == ["[1,null]", None, "[]", "[3,4]"]
    assert plain(in_chunks(array, array)).to_pylist() == array.to_pylist() * 2


def test_a_map_is_an_object_with_keys_as_text() -> None:
    array = pa.array([[(0, None)], [(1, [1.5]), (2, None)], None], pa.map_(pa.int64(), pa.list_(pa.float64())))
    assert json_texts(in_chunks(array.slice(1))).to_pylist() == ['{"1":[1.5],"2":null}', None]


def test_short_floats_are_written_in_their_own_width() -> None:
    assert texts(in_chunks(pa.array([0.35, None], pa.float32()))).to_pylist() == ["0.35", None]
    assert texts(in_chunks(pa.array(np.array([0.35, 1e4], np.float16)))).to_pylist() == ["0.35", "1e+04"]


def test_bytes_are_text_or_hexadecimal_digits() -> None:
    assert texts(in_chunks(pa.array([b"caf\xc3\xa9", b"\xff", None]))).to_pylist() == ["café", "\\xff", None]


def test_a_string_column_of_other_bytes_is_read_as_bytes() -> None:
    data = pa.py_buffer(b"ok\xff")
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 2, 3], np.int32).tobytes()), data)
    assert texts(in_chunks(broken, pa.array(["more"]))).to_pylist() == ["ok", "\\xff", "more"]


def test_instants_out_of_pythons_range_are_written() -> None:
    column = in_chunks(pa.array([2**40], pa.timestamp("s")), pa.array([0], pa.timestamp("s")))
    assert texts(column).to_pylist()[1] == "1970-01-01 00:00:00"
    assert "1099511627776" in texts(column).to_pylist()[0]


def test_a_table_without_columns_keeps_its_rows() -> None:
    rows = pa.table({"a": [1, 2, 3]}).select([])
    assert plain_table(rows).num_rows == 3
    assert json_rows(rows, np.array([0, 2])).to_pylist() == ["{}", "{}"]


def test_a_row_as_json_has_every_column() -> None:
    table = pa.table({"a": [1, None], 'b"': ["x\ny", "\u2028"]})
    assert [json.loads(row) for row in json_rows(table, np.array([0, 1])).to_pylist()] == table.to_pylist()


@given(st.lists(st.fixed_dictionaries({}, optional={"t": st.text(), "n": st.integers(-(2**63), 2**63 - 1)})))
def test_objects_are_read_back_by_any_parser(rows: list[dict[str, Any]]) -> None:
    array = pa.array(rows, pa.struct([("t", pa.string()), ("n", pa.int64())]))
    assert [json.loads(text) for text in json_texts(in_chunks(array)).to_pylist()] == rows


@given(st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.lists(st.text(max_size=3)))))))
def test_nested_lists_are_read_back_by_any_parser(values: list[Any]) -> None:
    written = json_texts(in_chunks(pa.array(values, pa.list_(pa.list_(pa.string()))))).to_pylist()
    assert [None if text is None else json.loads(text) for text in written] == values
