"""How a file's columns become the columns of the table it is imported into, and which of its rows cannot be right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.arrow_values import texts
from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.quality.left_out import NOTHING, LeftOut, non_numeric_of, total, without_infinite
from cleverbetter_dagster.dataset.quality.rules import find_violations, implausible_instants, of_methods
from cleverbetter_dagster.dataset.quality.unit_evidence import UnitEvidence
from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    COMPARED,
    DEFAULT_METHOD,
    EMBEDDED_FEATURES,
    ID,
    JSON_FEATURES,
    MARKET_PREFIX,
    METHOD,
    OPTIONAL,
    REQUIRED,
    TIMESTAMP,
)
from cleverbetter_dagster.errors import ImportFileError, SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports import json_columns
from cleverbetter_dagster.store.imports.fitting import Fitted, as_json, fit_canonical, fit_other
from cleverbetter_dagster.store.imports.mapping.loading import likely_preset
from cleverbetter_dagster.store.imports.readers.opening import is_json_array
from cleverbetter_dagster.store.imports.target import Target, TargetColumn, target_columns
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.column_names import missing_columns
from cleverbetter_dagster.store.source.layout import (
    FEATURE_KEYS,
    FEATURE_TIMES,
    Column,
    SourceLayout,
    closest,
)
from cleverbetter_dagster.store.source.tables import Relation


class ResultIntake:
    """Backtest rows.

    Attributes:
        columns: the target's columns that the file fills, in order.
        read: the file's columns that are needed. A batch may lack some, whose values are then missing.
        ignored: the file's columns that have no place in the target.
        file_names: canonical name -> the file's name of a column.
        evidence: what the prepared rows say of the units of their columns.
        left_out: values so far of embedded market features that are no numbers. They are stored as they are.
        left_out_rows: rows so far of methods that are left out. They are stored as they are.
    """

    def __init__(self, settings: Settings, layout: SourceLayout, path: Path, sample: pa.Table) -> None:
        """Match the columns of a file, of which `sample` has all, with those of the results table.

        Raises:
            ImportFileError: the file lacks columns that rows, or the table, need. All of them are named.
        """
        names, columns = sample.column_names, layout.columns
        self.target = Target(layout.results, _target_columns(settings, layout.results), columns[ID].name)
        matched = {name: _first_of(ALIASES.get(name, (name,)), names) for name in (*REQUIRED, *OPTIONAL, *COMPARED)}
        missing = [name for name in REQUIRED if matched[name] is None and name != METHOD]
        if missing:
            raise ImportFileError(_lacking(path, missing, sample))
        self.file_names = {name: file_name for name, file_name in matched.items() if file_name}
        self.evidence = UnitEvidence()
        self._filled = {n: column for n, column in columns.items() if n in self.file_names or n == METHOD}
        stored = {file_name for name, file_name in self.file_names.items() if name not in COMPARED}
        mapped = {*stored, *(column.name for column in columns.values())}
        self._extras = [name for name in names if name in self.target.writable and name not in mapped]
        self.columns = (*(column.name for column in self._filled.values()), *self._extras)
        self.target.check_filled(path, self.columns)
        self.read = (*dict.fromkeys((*self.file_names.values(), *self._extras)),)
        self.ignored = tuple(name for name in names if name not in {*stored, *self._extras})
        self._known_categories = settings.categorical_features
        self.left_out = NOTHING
        self._left_out_methods = settings.left_out_methods
        self.left_out_rows = 0
        self._now = pd.Timestamp.now(tz="UTC")

    def prepare(self, table: pa.Table) -> tuple[pa.Table, pd.DataFrame]:
        """All rows of a batch of the file in the target's columns, and the violations of those that cannot be right."""
        table = _completed(table, self.read)
        canonical = pa.table({name: table[file_name] for name, file_name in self.file_names.items()})
        if METHOD not in canonical.column_names:
            canonical = canonical.append_column(METHOD, pa.repeat(DEFAULT_METHOD, len(canonical)))
        rows, violations = find_violations(canonical, self._now, self._left_out_methods)
        left_out = of_methods(rows, self._left_out_methods)
        self.left_out_rows += int(left_out.sum())
        self.evidence.add(rows.filter(pa.array(~left_out)))
        violations = violations[~violations["column"].isin(COMPARED)]
        fitted = {
            column.name: fit_canonical(rows, name, self.target.columns[column.name])
            for name, column in self._filled.items()
        }
        fitted |= {name: fit_other(table[name], rows[ID], self.target.columns[name]) for name in self._extras}
        values = {name: column for name, (column, _) in fitted.items()}
        violations = gathered([violations, *(unfit for _, unfit in fitted.values())])
        if EMBEDDED_FEATURES in self._extras:
            objects, _ = json_columns.market_objects(as_json(table[EMBEDDED_FEATURES]), rows[ID], EMBEDDED_FEATURES)
            self.left_out = total([self.left_out, json_columns.non_numeric_values(objects, self._known_categories)])
        return pa.table(values), violations.assign(column=violations["column"].replace(self.file_names))


class FeatureIntake:
    """Market features: a column of JSON objects or one numeric column a feature, for either kind of table.

    Attributes:
        left_out: values so far that are no numbers. A JSON column keeps them as they are; they are no features.

    The others are as in `ResultIntake`.
    """

    def __init__(self, settings: Settings, layout: SourceLayout, path: Path, sample: pa.Table) -> None:
        """Match the columns of a file, of which `sample` has all, with those of the features table.

        If the file has no JSON column, the columns with a number in the sample are the features.

        Raises:
            ImportFileError: the file lacks the id of the row the features belong to, or a column that the table needs,
                or has no features.
            SchemaError: there is no features table.
        """
        features = layout.features
        if features is None:
            raise SchemaError(
                f"There is no features table to import {path} into: {layout.results} has its own column of market "
                f"features. Create {settings.features_table} yourself, or import them as a column of the backtest rows."
            )
        newest = features.computed_at.name if features.computed_at else None
        columns = _target_columns(settings, features.relation)
        self.target = Target(features.relation, columns, features.key.name, newest, features.one_per_key)
        self._wide_columns = [column for column in features.wide if column.name in self.target.writable]
        names = sample.column_names
        key = _first_of(FEATURE_KEYS, names)
        if key is None:
            raise ImportFileError(_no_column(path, FEATURE_KEYS, names))
        self._key, self._time = key, _first_of(FEATURE_TIMES, names) if newest else None
        self._json = _first_of(JSON_FEATURES, names)
        others = [name for name in names if name not in (key, self._time)]
        self._wide = [] if self._json else [name for name in others if _has_numbers(sample[name])]
        categories = set(settings.categorical_features) if features.json and not self._json else set()
        self._categories = [name for name in others if name in categories and name not in self._wide]
        if features.json is None:
            placed = {column.name for column in self._wide_columns}
            self._wide = [name for name in self._wide if name in placed]
        if self._json is None and not self._wide:
            raise ImportFileError(_no_column(path, JSON_FEATURES, names))
        self._features = features
        stored = [features.json.name] if features.json else [column.name for column in self._wide_columns]
        times = [newest] if self._time and newest else []
        self.columns: tuple[str, ...] = (self.target.key, *times, *stored)
        self.target.check_filled(path, self.columns)
        used = {self._json, *self._wide, *self._categories}
        self._ignored = tuple(name for name in others if name not in used)
        self._unplaced: dict[str, None] = {}
        self._known_categories = settings.categorical_features
        self.left_out, self.left_out_rows = NOTHING, 0

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns of the file, and keys of its JSON so far, that have no place in the target."""
        return (*self._ignored, *self._unplaced)

    @property
    def read(self) -> tuple[str, ...]:
        """The columns of the file that are needed."""
        return tuple(name for name in (self._key, self._time, self._json, *self._wide, *self._categories) if name)

    def prepare(self, table: pa.Table) -> tuple[pa.Table, pd.DataFrame]:
        """See `ResultIntake.prepare`."""
        table = _completed(table, [name for name in (self._key, self._time, self._json) if name])
        keyed, unread = canonical_types(pa.table({ID: table[self._key]}))
        ids = keyed[ID]
        reason = f"{self._key} is missing: whose features are these?"
        keys, unfit = fit_canonical(keyed, ID, self.target.columns[self.target.key])
        parts = [unread, violations_at(keyed, ID, ids.is_null().to_numpy(), reason), unfit]
        columns: dict[str, pa.ChunkedArray] = {self.target.key: keys}
        if self._time and self.target.newest:
            dated = pa.table({ID: ids, self._time: table[self._time]})
            times, undated = canonical_types(dated, {self._time: TIMESTAMP})
            columns[self.target.newest] = times[self._time]
            parts += [undated, implausible_instants(times, self._time, pd.Timestamp.now(tz="UTC"))]
        values, violations = self._values(table, ids)
        return pa.table(columns | values), gathered([*parts, violations])

    def _values(self, table: pa.Table, ids: pa.ChunkedArray) -> tuple[dict[str, pa.ChunkedArray], pd.DataFrame]:
        """The target's columns of features."""
        if self._json:
            stored = as_json(table[self._json])
            objects, violations = json_columns.market_objects(stored, ids, self._json)
            if self._features.json:
                self._leave_out(json_columns.non_numeric_values(objects, self._known_categories))
                return {self._features.json.name: stored.fill_null("{}")}, violations
            numbers = self._placed(objects, ids)
        else:
            there = {*table.column_names}
            wide = {MARKET_PREFIX + name: table[name] for name in self._wide if name in there}
            numbers, violations = self._numbers(pa.table({ID: ids, **wide})), gathered([])
        if self._features.json is None:
            fitted = {column.name: self._fitted(numbers, ids, column) for column in self._wide_columns}
            values = {name: column for name, (column, _) in fitted.items()}
            return values, gathered([violations, *(unfit for _, unfit in fitted.values())])
        members = numbers
        for name in self._categories:
            if name in table.column_names:
                members = members.append_column(MARKET_PREFIX + name, texts(table[name]))
        return {self._features.json.name: json_columns.objects_of(members)}, violations

    def _placed(self, objects: Sequence[Mapping[str, Any]], ids: pa.ChunkedArray) -> pa.Table:
        """The market features that have a column of their own; the others are noted as ignored."""
        names = [column.name for column in self._wide_columns]
        self._unplaced |= dict.fromkeys(key for each in objects for key in each if key not in names)
        return self._numbers(json_columns.numbers_of(objects, names).append_column(ID, ids))

    def _numbers(self, table: pa.Table) -> pa.Table:
        """The columns `ml_...` of a table with an id as float64; values that are no finite numbers are missing."""
        numbers, violations = canonical_types(table)
        finite, infinite = without_infinite(numbers.drop_columns([ID]))
        self._leave_out(non_numeric_of(violations)[1])
        self._leave_out(infinite)
        return finite

    def _leave_out(self, left_out: LeftOut) -> None:
        self.left_out = total([self.left_out, left_out])

    def _fitted(self, numbers: pa.Table, ids: pa.ChunkedArray, column: Column) -> Fitted:
        name = MARKET_PREFIX + column.name
        missing = pa.chunked_array([pa.nulls(len(ids), pa.float64())])
        values = numbers[name] if name in numbers.column_names else missing
        return fit_canonical(pa.table({ID: ids, name: values}), name, self.target.columns[column.name])


Intake = ResultIntake | FeatureIntake


def _target_columns(settings: Settings, relation: Relation) -> dict[str, TargetColumn]:
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        return target_columns(connection, relation)


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


def _lacking(path: Path, missing: Sequence[str], sample: pa.Table) -> str:
    names = sample.column_names
    form = "It is a JSON array, and has:" if is_json_array(path) else "It has:"
    statistics = texts(sample[0]).to_pylist() if names else []
    preset = likely_preset([*names, *statistics])
    remedy = (
        f"This looks like an export of {preset}: add --preset {preset}."
        if preset
        else "Rename the columns, or say what they are with --mapping (docs/importing.md, Files of other tools)."
    )
    return (
        f"{path} lacks columns that backtest rows need:{missing_columns(missing, names)}\n"
        f"{form} {', '.join(names) or 'none'}. {remedy} A column with one value for all rows: --set COLUMN=VALUE."
    )


def _has_numbers(column: pa.ChunkedArray) -> bool:
    """True if the column may be a feature: at least half of its values are numbers."""
    numbers, unreadable = canonical_types(pa.table({MARKET_PREFIX: column}))
    return len(column) - numbers[MARKET_PREFIX].null_count >= len(unreadable)
