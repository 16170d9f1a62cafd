"""JSON in files: texts parsed to columns, checked, and written as text again."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from cleverbetter_dagster.dataset.quality.arrow_values import json_texts
from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.schema import ID, MARKET_PREFIX

NOT_AN_OBJECT = "not a JSON object: write one {...}, in UTF-8, with quoted names and no trailing comma"


def parse_objects(
    texts: Sequence[bytes], types: Mapping[str, pa.DataType] | None = None
) -> tuple[pa.Table, np.ndarray]:
    """Parse each text as one JSON object: with pyarrow if all are well formed, otherwise text by text.

    Args:
        texts: UTF-8, one object each, without line breaks.
        types: Arrow types of some keys. Other keys get the type of their values, or text if these have several
            types. NaN and Infinity, which are common but no JSON, are read as numbers.

    Returns:
        One row for each object, in order, with one column for each key (null if an object lacks it); and the position
        of the text that each row came from, int64.
    """
    lines = b"\n".join(texts)
    try:
        if not _has_unstorable(lines):
            return _parse_together(lines, len(texts), types or {})
    except pa.ArrowInvalid:
        pass
    return _parse_each(texts)


def invalid_json(texts: pa.ChunkedArray, ids: pa.ChunkedArray, name: str) -> pd.DataFrame:
    """Violations for the texts in the column `name` that a JSON column cannot hold."""
    invalid = np.array([text is not None and not _is_storable(text) for text in texts.to_pylist()], dtype=bool)
    return violations_at(pa.table({ID: ids, name: texts}), name, invalid, f"{name} is not valid JSON")


def market_numbers(column: pa.ChunkedArray, ids: pa.ChunkedArray, name: str) -> tuple[pa.Table, pd.DataFrame]:
    """The market features in a column of JSON objects (texts or nested values).

    Args:
        ids: of the rows, for the violations.

    Returns:
        One row for each row of `column`, one float64 column for each key (`ml_...`), null where there is no number;
        and violations for what is no object, and for values other than numbers, true, false and null.
    """
    table = pa.table({ID: ids, name: column})
    missing = violations_at(table, name, column.is_null().to_numpy(), f"{name} is missing: write {{}} for none")
    if pa.types.is_struct(column.type):
        names = [MARKET_PREFIX + field.name for field in column.type]
        keys = dict(zip(names, column.flatten(), strict=True))
        numbers, unreadable = _json_numbers(pa.table({ID: ids, **keys}))
        return numbers, gathered([missing, unreadable])
    there = np.flatnonzero(column.is_valid().to_numpy())
    texts = column.drop_null().cast(pa.string()).to_pylist()
    objects, parsed = parse_objects([text.encode().replace(b"\n", b" ").replace(b"\r", b" ") for text in texts])
    positions = there[parsed]
    keys = {MARKET_PREFIX + key: objects[key] for key in objects.column_names}
    numbers, unreadable = _json_numbers(pa.table({ID: ids.take(pa.array(positions)), **keys}))
    malformed = np.zeros(len(column), dtype=bool)
    malformed[np.setdiff1d(there, positions)] = True
    violations = [
        missing,
        violations_at(table, name, malformed, f"{name} is {NOT_AN_OBJECT}"),
        unreadable.assign(position=positions[unreadable["position"].to_numpy(dtype=int)]),
    ]
    return _spread(numbers, positions, len(column)), gathered(violations)


def objects_of(numbers: pa.Table) -> pa.ChunkedArray:
    """Columns `ml_...` of numbers as JSON texts, without nulls.

    >>> objects_of(pa.table({"ml_a": [1.5, None], "ml_b": [2.0, 3.0]})).to_pylist()
    ['{"a":1.5,"b":2}', '{"b":3}']
    """
    names = [name.removeprefix(MARKET_PREFIX) for name in numbers.column_names]
    if not names:
        return pa.chunked_array([pa.repeat("{}", len(numbers))])
    values = [column.combine_chunks() for column in numbers.columns]
    return json_texts(pa.chunked_array([pa.StructArray.from_arrays(values, names)]))


def finite_numbers(table: pa.Table) -> tuple[pa.Table, pd.DataFrame]:
    """The columns `ml_...` of a table with an id, as float64, NaN missing; infinity is a violation."""
    numbers, violations = canonical_types(table)
    keys = [name for name in numbers.column_names if name != ID]
    infinite = [
        violations_at(numbers, name, pc.is_inf(numbers[name]).fill_null(False).to_numpy(), f"{name} is infinite")
        for name in keys
    ]
    return numbers.select(keys), gathered([violations, *infinite])


def _json_numbers(table: pa.Table) -> tuple[pa.Table, pd.DataFrame]:
    """As `finite_numbers`, but NaN is a violation too: PostgreSQL would refuse it in JSON."""
    numbers, violations = finite_numbers(table)
    nan = [
        violations_at(table, name, _written_nan(table[name]), f"{name} is NaN, which is no JSON: leave the key out")
        for name in numbers.column_names
    ]
    return numbers, gathered([violations, *nan])


def _written_nan(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_floating(column.type):
        return pc.is_nan(column).fill_null(False).to_numpy()
    if pa.types.is_string(column.type):  # because other rows have words
        return pc.equal(column, "NaN").fill_null(False).to_numpy()
    return np.zeros(len(column), dtype=bool)


def _spread(numbers: pa.Table, positions: np.ndarray, count: int) -> pa.Table:
    """Rows put at their positions among `count` rows, the others null."""
    if len(positions) == count:
        return numbers
    sources = np.full(count, -1)
    sources[positions] = np.arange(len(positions))
    return numbers.take(pa.array(sources, mask=sources < 0))


def _parse_together(lines: bytes, count: int, types: Mapping[str, pa.DataType]) -> tuple[pa.Table, np.ndarray]:
    table = arrow_json.read_json(
        io.BytesIO(lines),
        arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        arrow_json.ParseOptions(explicit_schema=pa.schema(types.items())),
    )
    if table.num_rows != count:  # two objects in one text, or none
        raise pa.ArrowInvalid("not one object a text")
    return table, np.arange(count)


def _parse_each(texts: Sequence[bytes]) -> tuple[pa.Table, np.ndarray]:
    objects, positions = [], []
    for position, text in enumerate(texts):
        try:
            value = None if _has_unstorable(text) else json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            objects.append(value)
            positions.append(position)
    keys = dict.fromkeys(key for value in objects for key in value)
    columns = {key: _column([value.get(key) for value in objects]) for key in keys}
    table = pa.table(columns) if columns else pa.table({"": pa.nulls(len(objects))}).select([])
    return table, np.array(positions, dtype=np.int64)


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        texts = (value if isinstance(value, str) or value is None else json.dumps(value) for value in values)
        return pa.array(list(texts), pa.string())


def _has_unstorable(text: bytes) -> bool:
    """True if it is not UTF-8, or has the character NUL, which PostgreSQL cannot hold."""
    try:
        return "\0" in text.decode() or b"\\u0000" in text
    except UnicodeDecodeError:
        return True


def _is_storable(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        return False
    return "\0" not in text and "\\u0000" not in text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
