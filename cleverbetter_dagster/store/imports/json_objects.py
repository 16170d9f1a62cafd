"""JSON objects: parsed from text that may be anything, and put into columns.

orjson refuses what is nested too deeply, lone surrogates and invalid UTF-8, and never recurses without bound. Python's
own parser reads what orjson will not: NaN, Infinity and integers beyond 64 bits.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

DEEPEST = 250
"""Levels of nesting that can be written again as JSON."""

NOT_AN_OBJECT = "not a JSON object: write one {...}, in UTF-8, with quoted names and no trailing comma"

_LONG_INTEGER = re.compile(rb"[0-9]{19}")
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotAnObjectError(ValueError):
    """The text is no JSON object that can be stored. The message completes "the line is ..."."""


def parse_object(text: bytes, *, exact: bool = False) -> dict[str, Any]:
    """The JSON object in `text`. NaN and Infinity, which are common but no JSON, are numbers.

    Args:
        exact: keep every digit of integers beyond 64 bits, at some cost. See `has_long_integers`.

    Raises:
        NotAnObjectError: it is something else, or has what PostgreSQL cannot hold.
    """
    if b"\0" in text or b"\\u0000" in text:
        raise NotAnObjectError("not storable: it contains the character NUL; remove it")
    try:
        value = _parse_with_python(text) if exact else orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _parse_with_python(text)
    if not isinstance(value, dict):
        raise NotAnObjectError(NOT_AN_OBJECT)
    return value


def has_long_integers(text: bytes) -> bool:
    """True if 19 digits or more stand in a row somewhere, of which orjson may keep only the first 17.

    >>> has_long_integers(b'{"a": 1234567890123456789}'), has_long_integers(b'{"a": 123456789012345678}')
    (True, False)
    """
    characters = np.frombuffer(text, dtype=np.uint8)
    runs = (characters - 48) < 10  # unsigned: what is below "0" becomes large
    for shift in (1, 2, 4, 8, 3):  # a True now means 2, 4, 8, 16, 19 digits from here on
        runs = runs[:-shift] & runs[shift:]
    return bool(runs.any())


def long_integer_in(text: bytes) -> bool:
    """As `has_long_integers`, for a short text."""
    return _LONG_INTEGER.search(text) is not None


def json_text(value: Any) -> str:
    """A value that was parsed from JSON, as JSON; NaN and infinity as Python writes them.

    Raises:
        NotAnObjectError: it is nested deeper than `DEEPEST`.
    """
    try:
        text = orjson.dumps(value).decode()
        if "null" not in text:  # which orjson writes for NaN and infinity too
            return text
    except TypeError:  # integers beyond 64 bits
        pass
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise NotAnObjectError(_too_deep()) from None
    if _depth(text.encode()) > DEEPEST:
        raise NotAnObjectError(_too_deep())
    return text


def column_of(values: Sequence[Any]) -> pa.Array:
    """Values of JSON as an Arrow array; all as text if their types differ, objects and lists as JSON text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        texts = (value if isinstance(value, str) or value is None else json_text(value) for value in values)
        return pa.array(list(texts), pa.string())


def flat(row: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The members of an object that have one of the names; objects and lists among them as JSON text.

    Raises:
        NotAnObjectError: a value is nested deeper than `DEEPEST`.
    """
    return {
        name: json_text(value) if isinstance(value, dict | list) else value
        for name, value in row.items()
        if name in names
    }


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Flat objects as rows, with a column for each name; what an object lacks is null."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: column_of([row.get(name) for row in rows]) for name in names}
    return pa.table(columns) if columns else pa.table({"": pa.nulls(len(rows))}).select([])


def _parse_with_python(text: bytes) -> Any:
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise NotAnObjectError(f"not UTF-8: byte {error.start + 1} is 0x{text[error.start]:02x}") from None
    if _depth(text) > DEEPEST:
        raise NotAnObjectError(_too_deep())
    try:
        value = json.loads(decoded)
    except json.JSONDecodeError:
        raise NotAnObjectError(NOT_AN_OBJECT) from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise NotAnObjectError("not storable: it has an integer of more than 4,300 digits") from None
    if "\\u" in decoded and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise NotAnObjectError("not storable: it has half a surrogate pair, such as \\ud800, which is no character")
    return value


def _depth(text: bytes) -> int:
    """The deepest level of brackets outside of quotes.

    >>> _depth(b'{"a": ["[[[", [1]]}')
    3
    """
    deepest = level = 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif first in b"]}":
            level -= 1
    return deepest


def _too_deep() -> str:
    return f"nested more than {DEEPEST} levels deep: keep such a value as text"
