"""How a file's columns become the columns of the table it is imported into, and which of its rows cannot be right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.quality.arrow_values import json_texts, texts
from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.quality.rules import find_violations
from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    DEFAULT_METHOD,
    ID,
    MARKET_PREFIX,
    METHOD,
    OPTIONAL,
    REQUIRED,
    STRATEGY,
    TEXTS,
    TIMESTAMP,
    TOTAL_BETS,
)
from cleverbetter_dagster.errors import ImportFileError, SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports import json_columns
from cleverbetter_dagster.store.imports.staging import Target
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.column_names import missing_columns
from cleverbetter_dagster.store.source.layout import (
    FEATURE_KEYS,
    FEATURE_TIMES,
    JSON_KINDS,
    Column,
    SourceLayout,
    closest,
    relation_columns,
)
from cleverbetter_dagster.store.source.tables import EMBEDDED_FEATURES, Relation

JSON_NAMES = ("features", EMBEDDED_FEATURES)
"""Names a file may give its column of JSON objects, best first."""

_KEY_PATTERNS = {
    "uuid": r"^\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?$",
    "int2": r"^[+-]?\d{1,4}$",
    "int4": r"^[+-]?\d{1,9}$",
    "int8": r"^[+-]?\d{1,18}$",
}


class ResultIntake:
    """Backtest rows.

    Attributes:
        columns: the target's columns that the file fills, in order.
        read: the file's columns that are needed. A batch may lack some, whose values are then missing.
        ignored: the file's columns that have no place in the target.
    """

    def __init__(self, settings: Settings, layout: SourceLayout, path: Path, sample: pa.Table) -> None:
        """Match the columns of a file, of which `sample` has all, with those of the results table.

        Raises:
            ImportFileError: the file lacks required columns. All of them are named.
        """
        names, columns = sample.column_names, layout.columns
        self.target = Target(layout.results, _all_columns(settings, layout.results), columns[ID].name)
        matched = {name: _first_of(ALIASES.get(name, (name,)), names) for name in (*REQUIRED, *OPTIONAL)}
        missing = [name for name in REQUIRED if matched[name] is None and name != METHOD]
        if missing:
            raise ImportFileError(_lacking(path, missing, names))
        self._canonical = {name: file_name for name, file_name in matched.items() if file_name}
        self._filled = {n: column for n, column in columns.items() if n in self._canonical or n == METHOD}
        mapped = {*self._canonical.values(), *(column.name for column in columns.values())}
        self._extras = [name for name in names if name in self.target.columns and name not in mapped]
        self.columns = (*(column.name for column in self._filled.values()), *self._extras)
        self.read = (*dict.fromkeys((*self._canonical.values(), *self._extras)),)
        self.ignored = tuple(name for name in names if name not in self.read)
        self._now = pd.Timestamp.now(tz="UTC")

    def prepare(self, table: pa.Table) -> tuple[pa.Table, pd.DataFrame]:
        """All rows of a batch of the file in the target's columns, and the violations of those that cannot be right."""
        table = _completed(table, self.read)
        canonical = pa.table({name: table[file_name] for name, file_name in self._canonical.items()})
        if METHOD not in canonical.column_names:
            canonical = canonical.append_column(METHOD, pa.repeat(DEFAULT_METHOD, len(canonical)))
        rows, violations = find_violations(canonical, self._now)
        parts = [violations, *(_unfit_keys(rows, name, self._filled[name].kind) for name in (ID, STRATEGY))]
        parts += [_unstorable_texts(rows, name) for name in TEXTS]
        columns = {column.name: _fitted(rows[name], name, column) for name, column in self._filled.items()}
        for name in self._extras:
            columns[name] = table[name]
            parts.append(_unstorable_texts(table, name))
            if self.target.columns[name].kind in JSON_KINDS:
                columns[name] = _json(table[name])
                parts.append(json_columns.invalid_json(columns[name], rows[ID], name))
        violations = gathered(parts)
        return pa.table(columns), violations.assign(column=violations["column"].replace(self._canonical))


class FeatureIntake:
    """Market features: a column of JSON objects or one numeric column a feature, for either kind of table.

    Attributes: see `ResultIntake`.
    """

    def __init__(self, settings: Settings, layout: SourceLayout, path: Path, sample: pa.Table) -> None:
        """Match the columns of a file, of which `sample` has all, with those of the features table.

        If the file has no JSON column, the columns with a number in the sample are the features.

        Raises:
            ImportFileError: the file lacks the id of the row the features belong to, or has no features.
            SchemaError: there is no features table.
        """
        features = layout.features
        if features is None:
            raise SchemaError(
                f"There is no features table to import {path} into: {layout.results} has its own column of market "
                f"features. Create {settings.features_table} yourself, or import them as a column of the backtest rows."
            )
        newest = features.computed_at.name if features.computed_at else None
        columns = _all_columns(settings, features.relation)
        self.target = Target(features.relation, columns, features.key.name, newest, features.one_per_key)
        names = sample.column_names
        key = _first_of(FEATURE_KEYS, names)
        if key is None:
            raise ImportFileError(_no_column(path, FEATURE_KEYS, names))
        self._key, self._time = key, _first_of(FEATURE_TIMES, names) if newest else None
        self._json = _first_of(JSON_NAMES, names)
        others = [name for name in names if name not in (key, self._time)]
        self._wide = [] if self._json else [name for name in others if _has_numbers(sample[name])]
        if features.json is None:
            self._wide = [name for name in self._wide if name in {column.name for column in features.wide}]
        if self._json is None and not self._wide:
            raise ImportFileError(_no_column(path, JSON_NAMES, names))
        self._features = features
        stored = [features.json.name] if features.json else [column.name for column in features.wide]
        times = [newest] if self._time and newest else []
        self.columns: tuple[str, ...] = (self.target.key, *times, *stored)
        self._ignored = tuple(name for name in others if name != self._json and name not in self._wide)
        self._unplaced: dict[str, None] = {}

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns of the file, and keys of its JSON so far, that have no place in the target."""
        return (*self._ignored, *self._unplaced)

    @property
    def read(self) -> tuple[str, ...]:
        """The columns of the file that are needed."""
        return tuple(name for name in (self._key, self._time, self._json, *self._wide) if name)

    def prepare(self, table: pa.Table) -> tuple[pa.Table, pd.DataFrame]:
        """See `ResultIntake.prepare`."""
        table = _completed(table, [name for name in (self._key, self._time, self._json) if name])
        keyed, unread = canonical_types(pa.table({ID: table[self._key]}))
        ids = keyed[ID]
        reason = f"{self._key} is missing: whose features are these?"
        parts = [
            unread,
            violations_at(keyed, ID, ids.is_null().to_numpy(), reason),
            _unfit_keys(keyed, ID, self.target.columns[self.target.key].kind),
            _unstorable_texts(keyed, ID),
        ]
        columns: dict[str, pa.ChunkedArray] = {self.target.key: ids}
        if self._time and self.target.newest:
            dated = pa.table({ID: ids, self._time: table[self._time]})
            times, undated = canonical_types(dated, {self._time: TIMESTAMP})
            columns[self.target.newest] = times[self._time]
            parts.append(undated)
        values, violations = self._values(table, ids)
        return pa.table(columns | values), gathered([*parts, violations])

    def _values(self, table: pa.Table, ids: pa.ChunkedArray) -> tuple[dict[str, pa.ChunkedArray], pd.DataFrame]:
        """The target's columns of features."""
        if self._json:
            stored = _json(table[self._json])
            objects, violations = json_columns.market_objects(stored, ids, self._json)
            if self._features.json:
                return {self._features.json.name: stored}, violations
            numbers, unfit = self._placed(objects, ids)
            violations = gathered([violations, unfit])
        else:
            wide = {MARKET_PREFIX + name: table[name] for name in self._wide if name in table.column_names}
            numbers, violations = json_columns.finite_numbers(pa.table({ID: ids, **wide}))
        if self._features.json is None:
            missing = pa.chunked_array([pa.nulls(len(table), pa.float64())])
            there = {name.removeprefix(MARKET_PREFIX): numbers[name] for name in numbers.column_names}
            return {column.name: there.get(column.name, missing) for column in self._features.wide}, violations
        return {self._features.json.name: json_columns.objects_of(numbers)}, violations

    def _placed(self, objects: Sequence[Mapping[str, Any]], ids: pa.ChunkedArray) -> tuple[pa.Table, pd.DataFrame]:
        """The market features that have a column of their own; the others are noted as ignored."""
        names = [column.name for column in self._features.wide]
        self._unplaced |= dict.fromkeys(key for each in objects for key in each if key not in names)
        return json_columns.finite_numbers(json_columns.numbers_of(objects, names).append_column(ID, ids))


Intake = ResultIntake | FeatureIntake


def _all_columns(settings: Settings, relation: Relation) -> dict[str, Column]:
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        return relation_columns(connection, relation)


def _json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of JSON texts, or of nested values, as JSON texts."""
    return json_texts(column) if pa.types.is_nested(column.type) else texts(column)


def _unfit_keys(table: pa.Table, name: str, kind: str) -> pd.DataFrame:
    """Violations for the ids in the text column `name` that a column of the type `kind` cannot hold."""
    pattern = _KEY_PATTERNS.get(kind)
    if pattern is None:
        return gathered([])
    unfit = pc.invert(pc.match_substring_regex(table[name], pattern)).fill_null(False)
    return violations_at(table, name, unfit.to_numpy(), f"{name} is no {kind}, which the table needs")


def _unstorable_texts(table: pa.Table, name: str) -> pd.DataFrame:
    """Violations for the texts in the column `name` that no column of PostgreSQL can hold."""
    if not pa.types.is_string(table[name].type):
        return gathered([])
    unstorable = pc.match_substring(table[name], "\0").fill_null(False).to_numpy()
    return violations_at(table, name, unstorable, f"{name} contains the character NUL")


def _completed(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The table with an empty column for each of the names that it lacks."""
    for name in names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table)))
    return table


def _first_of(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _no_column(path: Path, wanted: Sequence[str], names: Sequence[str]) -> str:
    return (
        f"{path} has no column {' or '.join(map(repr, wanted))}. It has: {', '.join(names) or 'none'}."
        f"{closest(wanted, names)} Rename the column that holds it to {wanted[0]!r}."
    )


def _lacking(path: Path, missing: Sequence[str], names: Sequence[str]) -> str:
    return (
        f"{path} lacks columns that backtest rows need:{missing_columns(missing, names)}\n"
        f"It has: {', '.join(names) or 'none'}. Rename the columns."
    )


def _fitted(values: pa.ChunkedArray, name: str, column: Column) -> pa.ChunkedArray:
    """Values in a form the column's type accepts: a count without a decimal point for an integer column."""
    if name == TOTAL_BETS and column.kind.startswith("int"):
        whole = pc.equal(pc.floor(values), values)
        return pc.if_else(whole, values, None).cast(pa.int64(), safe=False)
    return values


def _has_numbers(column: pa.ChunkedArray) -> bool:
    """True if the column may be a feature: at least half of its values are numbers."""
    numbers, unreadable = canonical_types(pa.table({MARKET_PREFIX: column}))
    return len(column) - numbers[MARKET_PREFIX].null_count >= len(unreadable)
