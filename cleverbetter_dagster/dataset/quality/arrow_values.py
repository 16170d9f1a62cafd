"""Arrow columns of any type as columns of plain types, as texts and as JSON. No value is rounded here.

`docs/importing.md` has the table of what each type becomes.
"""

import json
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def plain_table(table: pa.Table) -> pa.Table:
    """A table whose columns are `plain`."""
    if not table.num_columns:
        return table  # a new table without columns would have no rows either
    return pa.table([plain(column) for column in table.columns], table.column_names)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in a type without an encoding, so that every function of Arrow takes the column.

    Dictionaries, run ends, views, and large and fixed sizes are resolved, extension types are replaced by what they
    store (a UUID by its text), unions by texts. Text that is not UTF-8 becomes binary.
    """
    chunks = [_plain(chunk) for chunk in column.chunks]
    if any(pa.types.is_binary(chunk.type) for chunk in chunks):
        chunks = [chunk.cast(pa.binary()) for chunk in chunks]
    return pa.chunked_array(chunks or [pa.nulls(0)])


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every value as text: numbers with the fewest digits that tell them apart, dates as ISO 8601, nested ones as JSON.

    Instants with a zone are in UTC; binary that is not UTF-8 is `\\x` and its digits; nulls stay null.
    """
    return pa.chunked_array([_texts(chunk) for chunk in column.chunks], pa.string())


def json_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every value as JSON, as exact as it is; nulls stay null. What JSON lacks becomes text, such as "NaN" and dates.

    A null in a struct is left out. Of two equal keys of a map both are written; the last one counts.

    >>> json_texts(pa.chunked_array([[{"a": [1, None], "b": None}], [None]])).to_pylist()
    ['{"a":[1,null]}', None]
    """
    return pa.chunked_array([_json(chunk) for chunk in column.chunks], pa.string())


def json_rows(table: pa.Table, positions: np.ndarray) -> pa.ChunkedArray:
    """The rows at `positions` as JSON objects that have every column, null where a row has no value.

    >>> json_rows(pa.table({"a": [1, None], "b": ["x", "y"]}), np.array([1])).to_pylist()
    ['{"a":null,"b":"y"}']
    """
    if not table.num_columns:
        return pa.chunked_array([pa.repeat("{}", len(positions))])
    members = [
        pc.binary_join_element_wise(f"{json.dumps(name)}:", json_texts(column.take(positions)).fill_null("null"), "")
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pc.binary_join_element_wise("{", pc.binary_join_element_wise(*members, ","), "}", "")


def _plain(array: pa.Array) -> pa.Array:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _without_extension(array)
    if pa.types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if pa.types.is_union(kind):
        return pa.array([_texts(value)[0].as_py() for value in _union_values(array)], pa.string())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _plain(array.cast(pa.string()))
    if pa.types.is_string(kind):
        return array if _is_utf8(array) else array.cast(pa.binary())
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return array.cast(pa.binary())
    if pa.types.is_decimal(kind) and kind.bit_width < pa.decimal128(1).bit_width:
        return array.cast(pa.decimal128(kind.precision, kind.scale))
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):  # a cast loses the values of the last list
        return pa.ListArray.from_arrays(_list_offsets(array), array.flatten(), mask=array.is_null())
    return array


def _without_extension(array: pa.ExtensionArray) -> pa.Array:
    if isinstance(array.type, pa.UuidType):
        stored = array.storage.to_pylist()
        return pa.array([None if value is None else str(UUID(bytes=value)) for value in stored], pa.string())
    return array.storage.cast(pa.bool_()) if isinstance(array.type, pa.Bool8Type) else _plain(array.storage)


def _union_values(array: pa.UnionArray) -> list[pa.Array]:
    """Each value as an array of its own type."""
    places = {code: place for place, code in enumerate(array.type.type_codes)}
    offsets = array.offsets.to_pylist() if array.type.mode == "dense" else range(len(array))
    fields = [places[code] for code in array.type_codes.to_pylist()]
    return [array.field(field).slice(offset, 1) for field, offset in zip(fields, offsets, strict=True)]


def _is_utf8(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _list_offsets(array: pa.Array) -> pa.Array:
    """Where the values of each list begin among the flattened ones, and where those of the last end."""
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())


def _texts(array: pa.Array) -> pa.Array:
    array = _plain(array)
    kind = array.type
    if pa.types.is_nested(kind):
        return _json(array)
    if pa.types.is_floating(kind):
        return _float_texts(array)
    if pa.types.is_binary(kind):
        return pa.array([_text_of_bytes(value) for value in array.to_pylist()], pa.string())
    if pa.types.is_duration(kind):
        return pc.binary_join_element_wise(array.cast(pa.string()), kind.unit, " ")
    if pa.types.is_interval(kind):
        return pa.array(
            [None if value is None else _text_of_interval(value) for value in array.to_pylist()], pa.string()
        )
    if pa.types.is_timestamp(kind) and kind.tz:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))
    return array.cast(pa.string())


def _float_texts(array: pa.Array) -> pa.Array:
    """With the fewest digits that tell a number apart from others of its width: 0.35 of 32 bits is 0.35."""
    if not pa.types.is_float16(array.type):
        return array.cast(pa.string())
    digits = array.fill_null(0).to_numpy(zero_copy_only=False).astype(str)  # Arrow writes those of 32 bits
    return pa.array(digits, pa.string(), mask=np.asarray(array.is_null()))


def _text_of_bytes(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return f"\\x{value.hex()}" if value is not None else None


def _text_of_interval(value: pa.MonthDayNano) -> str:
    return f"{value.months} months {value.days} days {value.nanoseconds} ns"


def _json(array: pa.Array) -> pa.Array:
    """The values as JSON, null where there is none."""
    if pa.types.is_union(array.type):
        return pa.array([_json(value)[0].as_py() for value in _union_values(array)], pa.string())
    array = _plain(array)
    kind = array.type
    if pa.types.is_struct(kind):
        return _json_objects(array)
    if pa.types.is_map(kind):
        return _json_maps(array)
    if _is_list(kind):
        return _joined(array, _json(array.flatten()).fill_null("null"), _list_offsets(array), "[]")
    written = _texts(array)
    if pa.types.is_floating(kind):
        for text, name in _NOT_FINITE.items():
            written = pc.if_else(pc.equal(written, text), f'"{name}"', written)
        return written
    is_number = pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    return written if is_number or pa.types.is_boolean(kind) else _quoted(written)


def _json_objects(array: pa.StructArray) -> pa.Array:
    # Each member brings its comma: `null_handling="skip"` would drop the rows in which every member is null.
    members = [
        pc.binary_join_element_wise(f",{json.dumps(field.name)}:", _json(values), "").fill_null("")
        for field, values in zip(array.type, array.flatten(), strict=True)
    ]
    joined = pc.binary_join_element_wise(*members, "") if members else pa.repeat("", len(array))
    objects = pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(joined, 1), "}", "")
    return pc.if_else(array.is_valid(), objects, None)


def _json_maps(array: pa.MapArray) -> pa.Array:
    offsets = array.offsets.to_numpy()
    start, count = offsets[0], offsets[-1] - offsets[0]
    keys, values = array.keys.slice(start, count), array.items.slice(start, count)
    members = pc.binary_join_element_wise(_quoted(_texts(keys)), _json(values).fill_null("null"), ":")
    return _joined(array, members, pa.array(offsets - start, pa.int32()), "{}")


def _joined(array: pa.Array, members: pa.Array, offsets: pa.Array, brackets: str) -> pa.Array:
    """The members of each value between brackets; `offsets` are where each value's members begin."""
    listed = pc.binary_join(pa.ListArray.from_arrays(offsets, members), ",")
    return pc.if_else(array.is_valid(), pc.binary_join_element_wise(brackets[0], listed, brackets[1], ""), None)


def _quoted(written: pa.Array) -> pa.Array:
    """Texts as JSON strings."""
    if not pc.any(pc.match_substring_regex(written, _NEEDS_ESCAPE)).as_py():
        return pc.binary_join_element_wise('"', written, '"', "")
    return pa.array([None if text is None else json.dumps(text) for text in written.to_pylist()], pa.string())
