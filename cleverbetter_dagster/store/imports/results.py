"""What a file's columns are, how its rows look in the table they are meant for, and which of them cannot be right.

`ResultIntake` is here, for market features see `feature_intake`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.quality.conversion import gathered, violations_at
from cleverbetter_dagster.dataset.quality.rules import find_violations
from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    DEFAULT_METHOD,
    ID,
    METHOD,
    OPTIONAL,
    REQUIRED,
    STRATEGY,
    TEXTS,
    TOTAL_BETS,
)
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.json_columns import invalid_json, json_texts
from cleverbetter_dagster.store.imports.staging import Target
from cleverbetter_dagster.store.source.layout import JSON_KINDS, Column, closest

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
    """How one kind of file becomes rows of one table.

    Attributes:
        columns: those of the target that the file fills, in order.
        ignored: those of the file that have no place in the target.
    """

    target: Target
    columns: tuple[str, ...]
    ignored: tuple[str, ...]

    def prepare(self, table: pa.Table) -> Prepared:
        """One batch of the file, whose columns are those the intake was made for."""


class ResultIntake:
    """Backtest rows: an `Intake`."""

    def __init__(self, path: Path, names: Sequence[str], target: Target, columns: Mapping[str, Column]) -> None:
        """Match the file's columns with the table's.

        Args:
            names: the file's columns.
            columns: canonical name -> column of the target.

        Raises:
            ImportFileError: the file lacks a required column.
        """
        found = {name: first_of(ALIASES.get(name, (name,)), names) for name in (*REQUIRED, *OPTIONAL)}
        for name in REQUIRED:
            if found[name] is None and name != METHOD:
                raise ImportFileError(no_column(path, ALIASES.get(name, (name,)), names))
        self._canonical = {name: file_name for name, file_name in found.items() if file_name}
        self._filled = {n: column for n, column in columns.items() if n in self._canonical or n == METHOD}
        mapped = {*self._canonical.values(), *(column.name for column in columns.values())}
        self._extras = [name for name in names if name in target.columns and name not in mapped]
        self.target = target
        self.columns = (*(column.name for column in self._filled.values()), *self._extras)
        self.ignored = tuple(name for name in names if name not in {*self._canonical.values(), *self._extras})
        self._now = pd.Timestamp.now(tz="UTC")

    def prepare(self, table: pa.Table) -> Prepared:
        """See `Intake`."""
        canonical = pa.table({name: table[file_name] for name, file_name in self._canonical.items()})
        if METHOD not in canonical.column_names:
            canonical = canonical.append_column(METHOD, pa.repeat(DEFAULT_METHOD, len(canonical)))
        rows, violations = find_violations(canonical, self._now)
        found = [violations, *(unfit_keys(rows, name, self._filled[name].kind) for name in (ID, STRATEGY))]
        found += [unstorable_texts(rows, name) for name in TEXTS]
        columns = {column.name: _fitted(rows[name], name, column) for name, column in self._filled.items()}
        for name in self._extras:
            columns[name] = table[name]
            found.append(unstorable_texts(table, name))
            if self.target.columns[name].kind in JSON_KINDS:
                columns[name] = json_texts(table[name])
                found.append(invalid_json(columns[name], rows[ID], name))
        violations = gathered(found)
        return Prepared(pa.table(columns), violations.assign(column=violations["column"].replace(self._canonical)))


def unfit_keys(table: pa.Table, name: str, kind: str) -> pd.DataFrame:
    """Violations for the ids of the text column `name` that a column of the type `kind` cannot hold."""
    pattern = _KEY_PATTERNS.get(kind)
    if pattern is None:
        return gathered([])
    unfit = pc.invert(pc.match_substring_regex(table[name], pattern)).fill_null(False)
    return violations_at(table, name, unfit.to_numpy(), f"{name} is no {kind}, which the table needs")


def unstorable_texts(table: pa.Table, name: str) -> pd.DataFrame:
    """Violations for the texts of the column `name` that no column of PostgreSQL can hold."""
    if not pa.types.is_string(table[name].type):
        return gathered([])
    unstorable = pc.match_substring(table[name], "\0").fill_null(False).to_numpy()
    return violations_at(table, name, unstorable, f"{name} has the character NUL in it")


def first_of(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of the `wanted` names that is among `names`."""
    return next((name for name in wanted if name in names), None)


def no_column(path: Path, wanted: Sequence[str], names: Sequence[str]) -> str:
    """The message for a file without any of the `wanted` columns."""
    return (
        f"{path} has no column {' or '.join(map(repr, wanted))}. It has: {', '.join(names) or 'none'}."
        f"{closest(wanted, names)} Rename the column that holds it to {wanted[0]!r}."
    )


def _fitted(values: pa.ChunkedArray, name: str, column: Column) -> pa.ChunkedArray:
    """Values as the column's type can be written from: a count without a decimal point for an integer column."""
    if name == TOTAL_BETS and column.kind.startswith("int"):
        whole = pc.equal(pc.floor(values), values)
        return pc.if_else(whole, values, None).cast(pa.int64(), safe=False)
    return values
