"""JSON in files: texts parsed to columns, checked, and written as text again."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.arrow_values import json_texts
from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.quality.left_out import LeftOut, non_numeric_of, total
from cleverbetter_dagster.dataset.schema import ID, MARKET_PREFIX
from cleverbetter_dagster.store.imports.json_objects import NotAnObjectError, column_of, parse_object


def invalid_json(texts: pa.ChunkedArray, ids: pa.ChunkedArray, name: str) -> pd.DataFrame:
    """Violations for the texts in the column `name` that a JSON column cannot hold."""
    invalid = np.array([text is not None and not _is_storable(text) for text in texts.to_pylist()], dtype=bool)
    return violations_at(pa.table({ID: ids, name: texts}), name, invalid, f"{name} is not valid JSON")


def market_objects(
    texts: pa.ChunkedArray, ids: pa.ChunkedArray, name: str
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The market features in a column of JSON texts.

    Args:
        ids: of the rows, for the violations.

    Returns:
        The object of each row, with its values as they are; empty where there is none, or null. And violations for
        what is no object, for NaN and for infinity, which PostgreSQL refuses in JSON.
    """
    table = pa.table({ID: ids, name: texts})
    objects: list[dict[str, Any]] = [{} for _ in range(len(texts))]
    faults: dict[tuple[str, str], list[int]] = {}
    for position, text in enumerate(texts.to_pylist()):
        if text is None or text.strip() == "null":
            continue
        try:
            objects[position] = parse_object(text.encode())
        except NotAnObjectError as error:
            faults.setdefault((name, f"{name} is {error}"), []).append(position)
            continue
        for fault in _not_finite(objects[position], text, name):
            faults.setdefault(fault, []).append(position)
    pieces = [
        _faults_at(
            table, column, reason, [(at, objects[at].get(column.removeprefix(MARKET_PREFIX))) for at in positions]
        )
        for (column, reason), positions in faults.items()
    ]
    return objects, gathered(pieces)


def non_numeric_values(objects: Iterable[Mapping[str, Any]], categories: Collection[str] = ()) -> LeftOut:
    """The features with values that are neither numbers, nor texts of numbers, nor true, false or null.

    Those that are `categories` may be texts.

    >>> non_numeric_values([{"odds": 2.5, "country": "AU"}, {"odds": "3.5"}]).non_numeric_listed
    "country (1, such as 'AU')"
    """
    texts: dict[str, list[str]] = defaultdict(list)
    for members in objects:
        for name, value in members.items():
            if value is not None and not isinstance(value, int | float) and name not in categories:
                texts[MARKET_PREFIX + name].append(value if isinstance(value, str) else orjson.dumps(value).decode())
    counts = []
    for name, values in texts.items():
        _, unreadable = canonical_types(pa.table({name: pa.array(values, pa.string())}))
        counts.append(non_numeric_of(unreadable)[1])
    return total(counts)


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


def numbers_of(objects: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pa.Table:
    """The values of some market features as columns `ml_...`, null where an object lacks them."""
    return pa.table({MARKET_PREFIX + name: column_of([each.get(name) for each in objects]) for name in names})


def _not_finite(values: Mapping[str, Any], text: str, name: str) -> Iterator[tuple[str, str]]:
    """The column and the fault of each value that is no number PostgreSQL can hold in JSON."""
    if _is_storable(text):
        return
    named = False
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            named, column = True, MARKET_PREFIX + key
            yield (
                column,
                f"{column} is " + ("NaN, which is no JSON: leave the key out" if value != value else "infinite"),
            )
    if not named:
        yield name, f"{name} is not valid JSON: it has NaN or infinity within a value"


def _faults_at(table: pa.Table, column: str, reason: str, values: Sequence[tuple[int, Any]]) -> pd.DataFrame:
    mask = np.zeros(len(table), dtype=bool)
    mask[[position for position, _ in values]] = True
    faults = violations_at(table, column, mask, reason)
    return faults if column in table.column_names else faults.assign(value=[str(value) for _, value in values])


def _is_storable(text: str) -> bool:
    """True if it is strict JSON that PostgreSQL can hold."""
    if "\0" in text or "\\u0000" in text:
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
