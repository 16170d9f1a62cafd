"""Values in the form that PostgreSQL takes for the type of their column.

A value without such a form is a violation here. What only PostgreSQL can judge (the length of a text, the digits of a
numeric, an enum) is left to it: `staging` asks it row by row where it refuses.
"""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.quality.arrow_values import json_texts, texts
from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.quality.special_values import without_infinity
from cleverbetter_dagster.dataset.schema import ID, TIMESTAMP, UNDEFINED_AT_TIMES, UNDEFINED_WITHOUT_BETS
from cleverbetter_dagster.store.imports.json_columns import invalid_json
from cleverbetter_dagster.store.imports.target import TargetColumn
from cleverbetter_dagster.store.source.layout import INSTANTS, JSON_KINDS, WORDS, Column

_INTEGER_BITS = {"int2": 16, "int4": 32, "int8": 64}
_UUID = r"^\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?$"
_TIME_KINDS = r"time|date|ts(tz)?(multi)?range"
_TIME_WORDS = r"(?i)\b(now|today|tomorrow|yesterday|epoch|infinity|allballs)\b"
"""Words that PostgreSQL reads as times. Some mean another time with every import."""

Fitted = tuple[pa.ChunkedArray, pd.DataFrame]
"""The values, and the violations of those that do not fit."""


def fit_canonical(rows: pa.Table, name: str, column: TargetColumn) -> Fitted:
    """The column `name` of canonical rows with an id, for `column` of the table.

    A ratio without a value is NaN in a column that refuses NULL. One that is infinite has its canonical form in a
    numeric column, since one with a precision refuses infinity.
    """
    values = rows[name]
    if column.kind == "numeric" and name in UNDEFINED_AT_TIMES:
        values = pc.if_else(pc.is_inf(values), without_infinity(name, values.to_numpy()), values)
    if column.required and name in (*UNDEFINED_AT_TIMES, *UNDEFINED_WITHOUT_BETS):
        values = values.fill_null(float("nan"))
    bits = _INTEGER_BITS.get(column.kind)
    if bits and pa.types.is_floating(values.type):
        limit = 2.0 ** (bits - 1)
        fits = pc.and_(pc.and_(pc.greater_equal(values, -limit), pc.less(values, limit)), _is_whole(values))
        whole = pc.if_else(fits, values, None).cast(pa.int64())
        return whole, _unfit(rows, name, fits, f"must be a whole number, {_range(column)}")
    if bits and pa.types.is_string(values.type):
        fits = pc.match_substring_regex(values, r"^[+-]?0*\d{1,19}$")
        digits = pc.replace_substring_regex(pc.if_else(fits, values, None), r"^\+", "")
        number = digits.cast(pa.decimal128(38, 0))
        low, high = (pa.scalar(bound, pa.decimal128(38, 0)) for bound in (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
        fits = pc.and_kleene(fits, pc.and_(pc.greater_equal(number, low), pc.less_equal(number, high)))
        return digits, _unfit(rows, name, fits, f"must be a whole number, {_range(column)}")
    if column.kind == "uuid":
        return values, _unfit(rows, name, pc.match_substring_regex(values, _UUID), "is no uuid, which the table needs")
    return values, _unstorable(rows, name)


def fit_other(column: pa.ChunkedArray, ids: pa.ChunkedArray, target: Column) -> Fitted:
    """A column of any type that only the table knows, for its column `target`."""
    rows = pa.table({ID: ids, target.name: column})
    if target.kind in INSTANTS:
        converted, violations = canonical_types(rows, {target.name: TIMESTAMP})
        return converted[target.name], violations
    if target.kind in JSON_KINDS:
        written = as_json(column)
        return written, gathered([_unstorable(rows, target.name), invalid_json(written, ids, target.name)])
    if target.kind == "bytea" and pa.types.is_binary(column.type):
        digits = [None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()]
        return pa.chunked_array([pa.array(digits, pa.string())]), gathered([])
    written, unfit = texts(column), [_unstorable(rows, target.name)]
    if target.kind not in WORDS:
        written = pc.if_else(pc.equal(pc.utf8_trim_whitespace(written), ""), None, written)
    if pc.match_substring_regex(target.kind, _TIME_KINDS).as_py():
        fixed = pc.invert(pc.match_substring_regex(written, _TIME_WORDS))
        unfit.append(_unfit(rows, target.name, fixed, "is a word for a time: write the time itself"))
    return written, gathered(unfit)


def as_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of JSON texts, or of nested values, as JSON texts."""
    return json_texts(column) if pa.types.is_nested(column.type) else texts(column)


def _is_whole(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.equal(pc.floor(values), values)


def _range(column: Column) -> str:
    limit = 2 ** (_INTEGER_BITS[column.kind] - 1)
    return f"within {-limit}..{limit - 1}: the table's column {column.name} has the type {column.kind}"


def _unfit(rows: pa.Table, name: str, fits: pa.ChunkedArray, reason: str) -> pd.DataFrame:
    """Violations where `fits` is False; null, for no value, fits."""
    return violations_at(rows, name, pc.invert(fits).fill_null(False).to_numpy(), f"{name} {reason}")


def _unstorable(rows: pa.Table, name: str) -> pd.DataFrame:
    """Violations for the texts that no column of PostgreSQL can hold."""
    if not pa.types.is_string(rows[name].type):
        return gathered([])
    return _unfit(rows, name, pc.invert(pc.match_substring(rows[name], "\0")), "contains the character NUL")
