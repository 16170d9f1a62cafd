"""JSON objects, one a text, to columns: as fast as pyarrow parses where all are well formed, text by text where not."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

NOT_AN_OBJECT = "not a JSON object: write one {...}, in UTF-8, with quoted names and no trailing comma"


@dataclass(frozen=True)
class ParsedObjects:
    """The objects among some texts.

    Attributes:
        table: one row an object, in order, one column a key; a key that an object lacks is null.
        positions: which text each row came from, int64.
    """

    table: pa.Table
    positions: np.ndarray


def parse_objects(texts: Sequence[bytes], types: Mapping[str, pa.DataType] | None = None) -> ParsedObjects:
    """Parse each text as one JSON object.

    Args:
        texts: UTF-8, one object each, without line breaks.
        types: Arrow types of some keys. The others get the type of their values, or text where values have
            several types. NaN and Infinity, which are no JSON but often met, are read as numbers.
    """
    lines = b"\n".join(texts)
    try:
        if _unstorable(lines):
            return _one_by_one(texts)
        return _at_once(lines, len(texts), types or {})
    except pa.ArrowInvalid:
        return _one_by_one(texts)


def _at_once(lines: bytes, count: int, types: Mapping[str, pa.DataType]) -> ParsedObjects:
    table = arrow_json.read_json(
        io.BytesIO(lines),
        arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        arrow_json.ParseOptions(explicit_schema=pa.schema(types.items())),
    )
    if table.num_rows != count:  # two objects in one text, or none
        raise pa.ArrowInvalid("not one object a text")
    return ParsedObjects(table, np.arange(count))


def _one_by_one(texts: Sequence[bytes]) -> ParsedObjects:
    objects, positions = [], []
    for position, text in enumerate(texts):
        try:
            value = None if _unstorable(text) else json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            objects.append(value)
            positions.append(position)
    keys = dict.fromkeys(key for value in objects for key in value)
    columns = {key: _column([value.get(key) for value in objects]) for key in keys}
    table = pa.table(columns) if columns else pa.table({"": pa.nulls(len(objects))}).select([])
    return ParsedObjects(table, np.array(positions, dtype=np.int64))


def _unstorable(text: bytes) -> bool:
    """Not UTF-8, or with the character NUL, which PostgreSQL cannot hold."""
    try:
        return "\0" in text.decode() or b"\\u0000" in text
    except UnicodeDecodeError:
        return True


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        texts = (value if isinstance(value, str) or value is None else json.dumps(value) for value in values)
        return pa.array(list(texts), pa.string())
