"""Market features read as one JSON object a row, for rows with more feature names than SQL can read fast, or at all.

A statement of PostgreSQL has at most 1,664 columns, and each of them unpacks the whole object of its row again. Here
values are kept one by one, so names that few rows have, such as a price for each runner, cost no columns.
"""

import json
from array import array

import numpy as np
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.conversion import LONGEST_VALUE, canonical_types
from cleverbetter_dagster.dataset.quality.left_out import LEAST_SHARE, SHOWN, LeftOut, NonNumeric
from cleverbetter_dagster.dataset.schema import MARKET_PREFIX

MANY_KEYS = 64
"""With more keys one object is read instead of a column a key. Per value, columns take a third of the time with 50
keys, 3 times as long with 100, and 40 times as long with 800."""


class MarketObjects:
    """The values of the JSON objects of many rows, in the order of the rows."""

    def __init__(self) -> None:
        self._rows = 0
        self._codes: dict[str, int] = {}
        self._row, self._code, self._number = array("q"), array("q"), array("d")
        self._texts: list[str] = []
        self._text_at = array("q")
        """Positions of the texts in `_number`, where they are NaN until they are converted."""

    def add(self, objects: pa.Array) -> None:
        """Add rows: JSON objects as text, or null for none."""
        for text in objects.to_pylist():
            members = {} if text is None else json.loads(text, parse_int=float)
            for name, value in members.items():
                if value is not None:
                    self._add(name, value)
            self._rows += 1

    def columns(self) -> tuple[dict[str, pa.Array], LeftOut]:
        """A float64 column `ml_...` for each feature, sorted by name, null where it is not measured; what is left out.

        A feature with values in less than `LEAST_SHARE` of the rows has no column.
        """
        rows, codes = np.frombuffer(self._row, np.int64), np.frombuffer(self._code, np.int64)
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
        rare = sorted(self._codes.keys() - common)
        non_numeric = {name: count for name, count in self._counted(not_numbers).items() if name in common}
        return columns, LeftOut(non_numeric=non_numeric, rare=len(rare), rare_examples=tuple(rare[:SHOWN]))

    def _add(self, name: str, value: object) -> None:
        self._row.append(self._rows)
        self._code.append(self._codes.setdefault(name, len(self._codes)))
        if isinstance(value, float):
            self._number.append(value)
        else:
            self._text_at.append(len(self._number))
            self._texts.append(value if isinstance(value, str) else json.dumps(value))
            self._number.append(np.nan)

    def _converted(self) -> tuple[np.ndarray, np.ndarray]:
        """All values as numbers, NaN for none; and which of the texts are no numbers, by position."""
        numbers = np.array(self._number, dtype=np.float64)
        converted, unreadable = canonical_types(pa.table({MARKET_PREFIX: pa.array(self._texts, pa.string())}))
        numbers[np.frombuffer(self._text_at, np.int64)] = converted[MARKET_PREFIX].to_numpy()
        return numbers, unreadable["position"].to_numpy(dtype=int)

    def _counted(self, not_numbers: np.ndarray) -> dict[str, NonNumeric]:
        """Number of values that are no numbers by feature, and the first of them."""
        codes = np.frombuffer(self._code, np.int64)[np.frombuffer(self._text_at, np.int64)[not_numbers]]
        distinct, first, counts = np.unique(codes, return_index=True, return_counts=True)
        names = list(self._codes)
        return {
            names[code]: NonNumeric(values=int(count), example=self._texts[not_numbers[position]][:LONGEST_VALUE])
            for code, position, count in zip(distinct, first, counts, strict=True)
        }
