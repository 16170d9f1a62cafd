"""Market features read as one JSON object a row, for rows with more feature names than SQL can read fast, or at all.

A statement of PostgreSQL has at most 1,664 columns, and each of them unpacks the whole object of its row again. Here
values are kept one by one, so names that few rows have, such as a price for each runner, cost no columns.
"""

import json
from array import array
from collections.abc import Mapping
from itertools import repeat
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.conversion import LONGEST_VALUE, canonical_types
from cleverbetter_dagster.dataset.quality.left_out import LEAST_SHARE, LeftOut, NonNumeric, rare_features, total
from cleverbetter_dagster.dataset.schema import MARKET_PREFIX

MANY_KEYS = 64
"""With more keys one object is read instead of a column a key. Per value, columns take a third of the time with 50
keys, 3 times as long with 100, and 40 times as long with 800."""

_NUMBERS = {int, float}  # and not bool


class MarketObjects:
    """The values of the JSON objects of many rows, in the order of the rows."""

    def __init__(self) -> None:
        self._rows = 0
        self._codes: dict[str, int] = {}
        self._row, self._code, self._number = array("i"), array("i"), array("d")
        self._texts: list[str] = []
        self._text_at = array("q")
        """Positions of the texts in `_number`, where they are NaN until they are converted."""

    def add(self, objects: pa.Array) -> None:
        """Add rows: JSON objects as text, without null members; or null for none."""
        for text in objects.to_pylist():
            if text is not None:
                self._add(_members(text))
            self._rows += 1

    def columns(self) -> tuple[dict[str, pa.Array], LeftOut]:
        """A float64 column `ml_...` for each feature, sorted by name, null where it is not measured; what is left out.

        A feature with values in less than `LEAST_SHARE` of the rows has no column.
        """
        rows, codes = np.frombuffer(self._row, np.int32), np.frombuffer(self._code, np.int32)
        numbers, not_numbers = self._converted()
        counts = np.bincount(codes, minlength=len(self._codes))
        common = {name for name, code in self._codes.items() if counts[code] >= LEAST_SHARE * self._rows}
        by_code = np.argsort(codes, kind="stable")
        ends = np.cumsum(counts)
        columns = {}
        for name in sorted(common):
            code = self._codes[name]
            own = by_code[ends[code] - counts[code] : ends[code]]
            column = np.full(self._rows, np.nan)
            column[rows[own]] = numbers[own]
            columns[MARKET_PREFIX + name] = pa.array(column, from_pandas=True)
        rare = rare_features(self._codes.keys() - common)
        non_numeric = {name: count for name, count in self._counted(not_numbers).items() if name in common}
        return columns, total([LeftOut(non_numeric=non_numeric), rare])

    def _add(self, members: Mapping[str, Any]) -> None:
        """Add the members of one object, all at once, because there may be many millions of them."""
        for name in members:
            self._codes.setdefault(name, len(self._codes))
        values = list(members.values())
        if not _NUMBERS.issuperset(map(type, values)):
            values = [self._number_of(len(self._number) + at, value) for at, value in enumerate(values)]
        self._row.extend(repeat(self._rows, len(values)))
        self._code.extend(map(self._codes.__getitem__, members))
        self._number.extend(values)

    def _number_of(self, position: int, value: object) -> object:
        """A number, and NaN for anything else, which is noted as a text."""
        if type(value) in _NUMBERS:
            return value
        self._text_at.append(position)
        self._texts.append(value if isinstance(value, str) else orjson.dumps(value).decode())
        return np.nan

    def _converted(self) -> tuple[np.ndarray, np.ndarray]:
        """All values as numbers, NaN for none; and which of the texts are no numbers, by position."""
        numbers = np.array(self._number, dtype=np.float64)
        converted, unreadable = canonical_types(pa.table({MARKET_PREFIX: pa.array(self._texts, pa.string())}))
        numbers[np.frombuffer(self._text_at, np.int64)] = converted[MARKET_PREFIX].to_numpy()
        return numbers, unreadable["position"].to_numpy(dtype=int)

    def _counted(self, not_numbers: np.ndarray) -> dict[str, NonNumeric]:
        """Number of values that are no numbers by feature, and the first of them."""
        codes = np.frombuffer(self._code, np.int32)[np.frombuffer(self._text_at, np.int64)[not_numbers]]
        distinct, first, counts = np.unique(codes, return_index=True, return_counts=True)
        names = list(self._codes)
        return {
            names[code]: NonNumeric(values=int(count), example=self._texts[not_numbers[position]][:LONGEST_VALUE])
            for code, position, count in zip(distinct, first, counts, strict=True)
        }


def _members(text: str) -> Any:
    try:
        members = orjson.loads(text)
    except orjson.JSONDecodeError:  # a number of more than 300 digits
        members = json.loads(text, parse_int=float)
    return members
