"""What a file's columns are, how its rows look in the table they are meant for, and which of them cannot be right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.conversion import as_text, canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.json_objects import NOT_AN_OBJECT, parse_objects
from cleverbetter_dagster.dataset.quality import find_violations
from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    CREATED_AT,
    DEFAULT_METHOD,
    ID,
    MARKET_PREFIX,
    METHOD,
    OPTIONAL,
    REQUIRED,
    STRATEGY,
)
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.layout import FEATURE_KEYS, FEATURE_TIMES, Column, FeatureTable, SourceLayout
from cleverbetter_dagster.store.staging import Target

JSON_NAMES = ("features", "ml_features")
"""Names a features file may give its column of JSON objects."""

_KEY_PATTERNS = {
    "uuid": r"^\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?$",
    "int2": r"^[+-]?\d{1,4}$",
    "int4": r"^[+-]?\d{1,9}$",
    "int8": r"^[+-]?\d{1,18}$",
}


@dataclass(frozen=True)
class Prepared:
    """A batch of a file, ready to be staged.

    Attributes:
        rows: all of them, good and bad, under the target's column names.
        violations: `conversion.VIOLATION_COLUMNS`; their rows must not be staged.
    """

    rows: pa.Table
    violations: pd.DataFrame


class Intake(Protocol):
    """How one kind of file becomes rows of one table."""

    target: Target
    columns: tuple[str, ...]
    """Those of the target that the file fills, in order."""
    ignored: tuple[str, ...]
    """Those of the file that have no place in the target."""

    def prepare(self, table: pa.Table) -> Prepared:
        """One batch of the file."""


class ResultIntake:
    """Backtest rows."""

    def __init__(self, path: Path, names: Sequence[str], target: Target, columns: Mapping[str, Column]) -> None:
        """Match the file's columns with the table's.

        Args:
            names: the file's columns.
            columns: canonical name -> column of the target.

        Raises:
            ImportFileError: the file lacks a required column.
        """
        self.target = target
        found = {name: _first(names, ALIASES.get(name, (name,))) for name in (*REQUIRED, *OPTIONAL)}
        for name in REQUIRED:
            if found[name] is None and name != METHOD:
                raise ImportFileError(_missing(path, ALIASES.get(name, (name,)), names))
        self._canonical = {name: file_name for name, file_name in found.items() if file_name}
        filled = [name for name in columns if name in self._canonical or name == METHOD]
        self._filled = {name: columns[name] for name in filled}
        taken = {*self._canonical.values(), *(column.name for column in columns.values())}
        self._extras = [name for name in names if name in target.columns and name not in taken]
        self.columns = (*(column.name for column in self._filled.values()), *self._extras)
        self.ignored = tuple(name for name in names if name not in {*self._canonical.values(), *self._extras})
        self._now = pd.Timestamp.now(tz="UTC")

    def prepare(self, table: pa.Table) -> Prepared:
        canonical = pa.table({name: table[file_name] for name, file_name in self._canonical.items()})
        if METHOD not in canonical.column_names:
            canonical = canonical.append_column(METHOD, pa.repeat(DEFAULT_METHOD, len(canonical)))
        rows, violations = find_violations(canonical, self._now)
        found = [violations, *(_unfit_key(rows, name, self._filled[name]) for name in (ID, STRATEGY))]
        columns = {column.name: _for_column(rows[name], column) for name, column in self._filled.items()}
        for name in self._extras:
            columns[name], unfit = _extra(table[name], rows[ID], self.target.columns[name])
            found.append(unfit)
        return Prepared(pa.table(columns), gathered(found))
