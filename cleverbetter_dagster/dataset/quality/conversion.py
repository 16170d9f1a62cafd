"""Converts columns of any type to canonical types, whole columns at a time.

A value that cannot be read becomes null and a violation that quotes it; nothing is guessed.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.schema import (
    DEFAULT_METHOD,
    ID,
    MARKET_PREFIX,
    METHOD,
    TIMESTAMP,
    column_type,
)

VIOLATION_COLUMNS = ("position", "id", "column", "value", "reason")
"""`position`: row of the examined table, from 0; `id`: of the row, or None; the others are texts."""

_NO_VIOLATIONS = pd.DataFrame({"position": pd.Series(dtype="int64")}).reindex(columns=list(VIOLATION_COLUMNS))

LONGEST_VALUE = 200
"""Characters of a violation's value that are stored."""

_ZONE = r"\d[T ]\d.*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"
_MARKET_WORDS = {"true": "1", "false": "0"}


def violations_at(table: pa.Table, column: str, mask: np.ndarray, reason: str) -> pd.DataFrame:
    """A violation (`VIOLATION_COLUMNS`) for each row where `mask` is True, with the value of `column`."""
    positions = np.flatnonzero(mask)
    if not positions.size:
        return gathered([])
    rows = table.select([name for name in dict.fromkeys((ID, column)) if name in table.column_names]).take(positions)
    missing = pa.nulls(len(positions), pa.string())
    ids = as_text(rows[ID]) if ID in rows.column_names else missing
    values = quoted(rows[column]) if column in rows.column_names else missing
    return pd.DataFrame(
        {
            "position": positions,
            "id": ids.to_pandas(),
            "column": column,
            "value": pc.utf8_slice_codeunits(values, 0, LONGEST_VALUE).to_pandas(),
            "reason": reason,
        },
        columns=list(VIOLATION_COLUMNS),
    )


def gathered(pieces: list[pd.DataFrame]) -> pd.DataFrame:
    """The violations of several rules as one frame, in the order of the rows."""
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        return _NO_VIOLATIONS.copy()
    return pd.concat(pieces, ignore_index=True).sort_values("position", kind="stable", ignore_index=True)


def canonical_types(table: pa.Table, types: Mapping[str, pa.DataType] | None = None) -> tuple[pa.Table, pd.DataFrame]:
    """Every column of `table` in its canonical type, and a violation for each value that cannot be read.

    Texts are trimmed, and empty text is missing (a missing method is `DEFAULT_METHOD`). Numbers and dates may be text,
    dates in ISO 8601; a date without a zone is UTC. In market features true and false are 1 and 0, and NaN is missing.

    Args:
        table: columns with canonical names, of any Arrow type.
        types: canonical types of columns with other names.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    violations: list[pd.DataFrame] = []
    for name in table.column_names:
        wanted = (types or {}).get(name) or column_type(name)
        values, unread = _read(table[name], name, wanted)
        if unread is not None and pc.any(unread).as_py():
            violations.append(violations_at(table, name, unread.to_numpy(), _unreadable(name, wanted)))
        columns[name] = values
    return pa.table(columns), gathered(violations)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as trimmed text, empty text missing."""
    if not pa.types.is_string(column.type):
        column = quoted(column)
    trimmed = pc.utf8_trim_whitespace(column)
    lengths = pc.binary_length(trimmed)
    if pc.sum(lengths) == pc.sum(pc.binary_length(column)) and not pc.any(pc.equal(lengths, 0)).as_py():
        return column  # usually nothing changes, and a second copy of a million texts is avoided
    return pc.if_else(pc.equal(lengths, 0), None, trimmed)


def as_number(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Trimmed text as float64, null if it is no number. `NaN` and `Infinity` are numbers here."""
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        numbers = pd.to_numeric(text.to_pandas(), errors="coerce")
        written_nan = pc.equal(pc.utf8_lower(text), "nan").to_pandas().eq(True)
        return _chunked(pa.array(numbers, mask=(numbers.isna() & ~written_nan).to_numpy()))


def as_timestamp(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Trimmed ISO 8601 text as UTC microseconds, null if it is no date."""
    first = next((chunk.drop_null()[0].as_py() for chunk in text.chunks if chunk.null_count < len(chunk)), "")
    zone = "UTC" if re.search(_ZONE, first) else None  # guessed from one value, because a failing cast is slow
    for unit in ("ns", "us"):
        try:
            return text.cast(pa.timestamp(unit, zone)).cast(TIMESTAMP, safe=False)  # nanoseconds are dropped
        except pa.ArrowInvalid:
            continue
    series = text.to_pandas()
    # Separately, because pandas gives a text without a zone the zone of the text before it.
    zoned = series.str.contains(_ZONE, na=False).astype(bool)
    parts = [pd.to_datetime(series[part], format="ISO8601", utc=True, errors="coerce") for part in (zoned, ~zoned)]
    instants = pd.concat(parts).sort_index()
    return _chunked(pa.Array.from_pandas(instants.dt.as_unit("us")))


def quoted(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as text for messages and ids; nulls stay null."""
    if (
        pa.types.is_nested(column.type)
        or pa.types.is_binary(column.type)
        or isinstance(column.type, pa.BaseExtensionType)
    ):
        return _chunked(pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string()))
    return column.cast(pa.string())


def _read(column: pa.ChunkedArray, name: str, wanted: pa.DataType) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """The column as `wanted`, and a mask of its unreadable values (None: its type has none)."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if wanted == pa.string():
        text = as_text(column)
        return (text.fill_null(DEFAULT_METHOD) if name == METHOD else text), None
    market = name.startswith(MARKET_PREFIX)
    readable = pa.types.is_temporal(column.type) if wanted == TIMESTAMP else _is_number(column.type, market)
    if readable or pa.types.is_null(column.type):
        values, unread = column.cast(wanted), None
    else:
        text = as_text(column)
        values = as_timestamp(text) if wanted == TIMESTAMP else as_number(_market_words(text) if market else text)
        unread = pc.and_(pc.is_valid(text), pc.is_null(values))
    if market and pc.any(pc.is_nan(values)).as_py():
        values = pc.if_else(pc.is_nan(values), None, values)
    return values, unread


def _is_number(kind: pa.DataType, market: bool) -> bool:
    truth = market and pa.types.is_boolean(kind)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or truth


def _market_words(text: pa.ChunkedArray) -> pa.ChunkedArray:
    lower = pc.utf8_lower(text)
    for word, digit in _MARKET_WORDS.items():
        text = pc.if_else(pc.equal(lower, word), digit, text)
    return text


def _unreadable(name: str, wanted: pa.DataType) -> str:
    if wanted == TIMESTAMP:
        return f"{name} is not a date: write ISO 8601, such as 2023-11-30T23:59:59Z"
    return f"{name} is not a number: write digits with a decimal point, such as 0.125"


def _chunked(values: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
