"""Converts columns of any type to canonical types, whole columns at a time.

A value that cannot be read becomes null and a violation that quotes it; nothing is guessed. Every number becomes the
nearest float64, whether it was text, a decimal or an integer.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.quality.arrow_values import plain, plain_table, texts
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
_DATE = re.compile(
    r"(?P<date>\d{4}-?\d\d-?\d\d)(?:[T ](?P<time>\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?) ?"
    r"(?P<zone>[Zz]|[+-]\d\d(?::?\d\d){0,2})?)?",
    re.ASCII,
)
_NUMBER = r"(?i)^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)$"
_FIRST_INSTANT = pa.scalar(datetime(1, 1, 1, tzinfo=UTC), TIMESTAMP)
_LAST_INSTANT = pa.scalar(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), TIMESTAMP)
_MARKET_WORDS = {"true": "1", "t": "1", "false": "0", "f": "0"}  # t and f are PostgreSQL's


def violations_at(table: pa.Table, column: str, mask: np.ndarray, reason: str) -> pd.DataFrame:
    """A violation (`VIOLATION_COLUMNS`) for each row where `mask` is True, with the value of `column`."""
    positions = np.flatnonzero(mask)
    if not positions.size:
        return gathered([])
    rows = table.select([name for name in dict.fromkeys((ID, column)) if name in table.column_names]).take(positions)
    missing = pa.nulls(len(positions), pa.string())
    ids = _as_text(plain(rows[ID]))[0] if ID in rows.column_names else missing
    values = texts(rows[column]) if column in rows.column_names else missing
    return pd.DataFrame(
        {
            "position": positions,
            "id": _objects(ids),
            "column": column,
            "value": _objects(pc.utf8_slice_codeunits(values, 0, LONGEST_VALUE)),
            "reason": reason,
        },
        columns=list(VIOLATION_COLUMNS),
    )


def _objects(values: pa.Array | pa.ChunkedArray) -> pd.Series:
    """Texts as Python objects, a missing one as None. From pandas 3 on a text column would have NaN there."""
    return pd.Series(values.to_pylist(), dtype=object)


def gathered(pieces: list[pd.DataFrame]) -> pd.DataFrame:
    """The violations of several rules as one frame, in the order of the rows: the first of each cell.

    An unreadable value is not missing as well.
    """
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        return _NO_VIOLATIONS.copy()
    violations = pd.concat(pieces, ignore_index=True).sort_values("position", kind="stable")
    return violations.drop_duplicates(["position", "column"], ignore_index=True)


def canonical_types(table: pa.Table, types: Mapping[str, pa.DataType] | None = None) -> tuple[pa.Table, pd.DataFrame]:
    """Every column of `table` in its canonical type, and a violation for each value that cannot be read.

    Texts are trimmed, and empty text is missing (a missing method is `DEFAULT_METHOD`). Numbers and dates may be text,
    dates in ISO 8601; a date without a zone is UTC, and digits after the microseconds are cut off. In market features
    true and false are 1 and 0, and NaN is missing.

    Args:
        table: columns with canonical names, of any Arrow type.
        types: canonical types of columns with other names.
    """
    table = plain_table(table)
    columns: dict[str, pa.ChunkedArray] = {}
    violations: list[pd.DataFrame] = []
    for name in table.column_names:
        wanted = (types or {}).get(name) or column_type(name)
        values, unread, reason = _read(table[name], name, wanted)
        if unread is not None and pc.any(unread).as_py():
            violations.append(violations_at(table, name, unread.to_numpy(), f"{name} {reason}"))
        columns[name] = values
    return pa.table(columns), gathered(violations)


_Read = tuple[pa.ChunkedArray, pa.ChunkedArray | None, str]
"""Values, a mask of the unreadable ones (None: there are none), and the reason, which follows the column's name."""

_NO_TEXT = "is no text and no whole number: write it as text"
_NO_NUMBER = "is not a number: write digits with a decimal point, such as 0.125, at most 1.797e308"
_NO_DATE = "is not a date: write ISO 8601, such as 2023-11-30T23:59:59Z"


def _read(column: pa.ChunkedArray, name: str, wanted: pa.DataType) -> _Read:
    """The plain column as `wanted`."""
    if wanted == pa.string():
        text, unread = _as_text(column)
        return (text.fill_null(DEFAULT_METHOD) if name == METHOD else text), unread, _NO_TEXT
    if wanted == TIMESTAMP:
        return *_as_instant(column), _NO_DATE
    market = name.startswith(MARKET_PREFIX)
    values, unread = _as_number(column, market)
    if market and pc.any(pc.is_nan(values)).as_py():
        values = pc.if_else(pc.is_nan(values), None, values)
    return values, unread, _NO_NUMBER


def _as_text(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """Trimmed text, empty text missing; and which values are neither text nor a whole number."""
    kind = column.type
    if pa.types.is_string(kind):
        return _trimmed(column), None
    text = texts(column)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return text, None
    if pa.types.is_binary(kind):
        readable = pc.equal(pc.binary_length(text), pc.binary_length(column))  # longer: hexadecimal digits, not UTF-8
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        text = pc.replace_substring_regex(text, r"\.0+$", "")
        readable = pc.match_substring_regex(text, r"^-?\d+$")
    else:
        readable = pc.if_else(pc.is_valid(text), False, None)
    return _trimmed(pc.if_else(readable, text, None)), pc.invert(readable).fill_null(False)


def _trimmed(text: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(text)
    lengths = pc.binary_length(trimmed)
    if pc.sum(lengths) == pc.sum(pc.binary_length(text)) and not pc.any(pc.equal(lengths, 0)).as_py():
        return text  # usually nothing changes, and a second copy of a million texts is avoided
    return pc.if_else(pc.equal(lengths, 0), None, trimmed)


def _as_number(column: pa.ChunkedArray, market: bool) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """The nearest float64. `NaN` and `Infinity` are numbers here; a finite number beyond the largest is none."""
    kind = column.type
    if kind == pa.float64():
        return column, None
    if pa.types.is_integer(kind) or pa.types.is_null(kind) or (market and pa.types.is_boolean(kind)):
        return column.cast(pa.float64(), safe=False), None
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return texts(column).cast(pa.float64()), None  # Arrow's own cast of 0.35 is off by one digit of the last place
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        return _none_of(column, pa.float64())
    text = _trimmed(texts(column))
    if market:
        text = _market_words(text)
    values = _parsed_numbers(text)
    if pc.any(pc.is_inf(values)).as_py():
        overflow = pc.and_(pc.is_inf(values), pc.invert(pc.match_substring(text, "inf", ignore_case=True)))
        values = pc.if_else(overflow, None, values)
    return values, pc.and_(pc.is_valid(text), pc.is_null(values))


def _parsed_numbers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        readable = pc.match_substring_regex(text, _NUMBER)
        unsigned = pc.replace_substring_regex(pc.if_else(readable, text, None), r"^\+", "")  # Arrow takes no plus
        return unsigned.cast(pa.float64())


def _as_instant(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """UTC microseconds of the years 1 to 9999, which Python can hold; digits after them are cut off."""
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(TIMESTAMP), None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        values = _microseconds(column)
    elif pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_integer(kind):
        column = _trimmed(texts(column))
        values = _parsed_instants(column)
    else:
        return _none_of(column, TIMESTAMP)
    held = pc.and_(pc.greater_equal(values, _FIRST_INSTANT), pc.less_equal(values, _LAST_INSTANT))
    values = values if pc.all(held).as_py() else pc.if_else(held, values, None)
    return values, None if values.null_count == column.null_count else pc.and_(pc.is_valid(column), pc.is_null(values))


def _microseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of timestamps or dates; null where the microseconds need more than 64 bits."""
    try:
        # Nanoseconds are never out of range, and a safe cast would refuse to cut them off.
        return column.cast(TIMESTAMP, safe=getattr(column.type, "unit", None) != "ns")
    except pa.ArrowInvalid:
        return _chunked(pa.array([_cast_or_null(value) for value in column], TIMESTAMP))


def _cast_or_null(value: pa.Scalar) -> pa.Scalar:
    try:
        return value.cast(TIMESTAMP)
    except pa.ArrowInvalid:
        return pa.scalar(None, TIMESTAMP)


def _parsed_instants(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 as UTC microseconds, null if it is no date."""
    first = next((chunk.drop_null()[0].as_py() for chunk in text.chunks if chunk.null_count < len(chunk)), "")
    zone = "UTC" if re.search(_ZONE, first) else None  # guessed from one value, because a failing cast is slow
    for unit in ("ns", "us"):
        try:
            return text.cast(pa.timestamp(unit, zone)).cast(TIMESTAMP, safe=False)
        except pa.ArrowInvalid:
            continue
    return _chunked(pa.array([None if value is None else _instant(value) for value in text.to_pylist()], TIMESTAMP))


def _instant(text: str) -> datetime | None:
    parts = _DATE.fullmatch(text)
    if parts is None:
        return None
    try:
        instant = datetime.fromisoformat(f"{parts['date']}T{parts['time'] or '00'}{(parts['zone'] or 'Z').upper()}")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, or a year that the zone moves out of 1 to 9999
        return None


def _none_of(column: pa.ChunkedArray, wanted: pa.DataType) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """No value of a type that is never a `wanted`."""
    return _chunked(pa.nulls(len(column), wanted)), pc.is_valid(column)


def _market_words(text: pa.ChunkedArray) -> pa.ChunkedArray:
    lower = pc.utf8_lower(text)
    for word, digit in _MARKET_WORDS.items():
        text = pc.if_else(pc.equal(lower, word), digit, text)
    return text


def _chunked(values: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
