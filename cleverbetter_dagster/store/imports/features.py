"""Files of market features: a column of JSON objects, or one numeric column a feature, for either kind of table."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.conversion import as_text, canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.schema import ID, MARKET_PREFIX, TIMESTAMP
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.json_columns import finite_numbers, json_texts, market_numbers, objects_of
from cleverbetter_dagster.store.imports.results import Prepared, first_of, no_column, unfit_keys, unstorable_texts
from cleverbetter_dagster.store.imports.staging import Target
from cleverbetter_dagster.store.source.layout import FEATURE_KEYS, FEATURE_TIMES, FeatureTable
from cleverbetter_dagster.store.source.tables import EMBEDDED_FEATURES

JSON_NAMES = ("features", EMBEDDED_FEATURES)
"""Names a file may give its column of JSON objects, best first."""


class FeatureIntake:
    """Market features: an `Intake`."""

    def __init__(self, path: Path, sample: pa.Table, target: Target, features: FeatureTable) -> None:
        """Match the file's columns with the table's.

        Args:
            sample: the file's first rows. Where it has no JSON column, the columns with a number among these are the
                features.

        Raises:
            ImportFileError: the file lacks the id of the row the features belong to, or has no features.
        """
        names = sample.column_names
        key = first_of(FEATURE_KEYS, names)
        if key is None:
            raise ImportFileError(no_column(path, FEATURE_KEYS, names))
        self._key, self._time = key, first_of(FEATURE_TIMES, names) if target.newest else None
        self._json = first_of(JSON_NAMES, names)
        others = [name for name in names if name not in (key, self._time)]
        self._wide = [] if self._json else [name for name in others if _has_numbers(sample[name])]
        if self._json is None and not self._wide:
            raise ImportFileError(no_column(path, JSON_NAMES, names))
        self._features, self.target = features, target
        stored = [features.json.name] if features.json else [column.name for column in features.wide]
        times = [target.newest] if self._time and target.newest else []
        self.columns: tuple[str, ...] = (target.key, *times, *stored)
        self.ignored = tuple(name for name in others if name != self._json and name not in self._wide)

    def prepare(self, table: pa.Table) -> Prepared:
        """See `Intake`."""
        ids = as_text(table[self._key])
        keyed = pa.table({ID: ids})
        missing = violations_at(
            keyed, ID, ids.is_null().to_numpy(), f"{self._key} is missing: whose features are these?"
        )
        unfit = unfit_keys(keyed, ID, self.target.columns[self.target.key].kind)
        found = [missing, unfit, unstorable_texts(keyed, ID)]
        columns: dict[str, pa.ChunkedArray] = {self.target.key: ids}
        if self._time and self.target.newest:
            times, undated = canonical_types(
                pa.table({ID: ids, self._time: table[self._time]}), {self._time: TIMESTAMP}
            )
            columns[self.target.newest] = times[self._time]
            found.append(undated)
        values, violations = self._values(table, ids)
        return Prepared(pa.table(columns | values), gathered([*found, violations]))

    def _values(self, table: pa.Table, ids: pa.ChunkedArray) -> tuple[dict[str, pa.ChunkedArray], pd.DataFrame]:
        """The target's columns of features."""
        if self._json:
            numbers, violations = market_numbers(table[self._json], ids, self._json)
        else:
            wide = {MARKET_PREFIX + name: table[name] for name in self._wide}
            numbers, violations = finite_numbers(pa.table({ID: ids, **wide}))
        if self._features.json is None:
            nothing = pa.chunked_array([pa.nulls(len(table), pa.float64())])
            there = {name.removeprefix(MARKET_PREFIX): numbers[name] for name in numbers.column_names}
            return {column.name: there.get(column.name, nothing) for column in self._features.wide}, violations
        if self._json and not pa.types.is_nested(table[self._json].type):
            return {self._features.json.name: json_texts(table[self._json])}, violations
        return {self._features.json.name: objects_of(numbers)}, violations


def _has_numbers(column: pa.ChunkedArray) -> bool:
    """Whether it may be a feature: it has a number, or nothing at all yet."""
    numbers, unreadable = canonical_types(pa.table({MARKET_PREFIX: column}))
    return numbers[MARKET_PREFIX].null_count < len(column) or unreadable.empty
