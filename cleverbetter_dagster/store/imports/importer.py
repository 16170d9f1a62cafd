"""Imports files into the two tables: good rows are loaded, the others go to quarantine, and nothing is overwritten.

Each file is one transaction. If it is interrupted nothing of it is in the table, and importing it again completes it.
Memory is bounded by a batch, whatever the file's length.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.arrow_values import json_rows
from cleverbetter_dagster.dataset.quality.left_out import LeftOut
from cleverbetter_dagster.dataset.quality.units import scaled
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store import quarantine
from cleverbetter_dagster.store.imports.file_units import FileUnits, refuse_other_units
from cleverbetter_dagster.store.imports.intake import FeatureIntake, Intake, ResultIntake
from cleverbetter_dagster.store.imports.mapping.mapped_rows import MappedRows
from cleverbetter_dagster.store.imports.mapping.spec import ImportMapping
from cleverbetter_dagster.store.imports.readers.opening import open_rows
from cleverbetter_dagster.store.imports.readers.row_file import LONGEST_RAW, FileBatch, RowFile
from cleverbetter_dagster.store.imports.staging import Staging
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.layout import SourceLayout, resolve_source
from cleverbetter_dagster.store.source.tables import ensure_source_tables

Progress = Callable[[str, float], None]
"""Called with what is being done, and which fraction of it is done."""

Paths = Path | Sequence[Path] | None


@dataclass(frozen=True)
class FileReport:
    """What happened to the rows of one file.

    Attributes:
        source: the file, as the quarantine names it.
        table: where its rows went.
        rows_read: every row, good, bad or malformed.
        updated: market features that replaced older ones.
        unchanged: rows whose content was in the table already, or is older than what is there.
        quarantined: rows that were not loaded.
        reasons: reason -> number of values or rows it applies to.
        ignored_columns: columns of the file that the table has no place for.
        converted_columns: columns of the file that were in other units, and were converted.
        left_out: values of market features that are no numbers. Their rows are loaded.
        left_out_rows: rows of methods that are no backtests. They are loaded, and left out of training.
    """

    source: str
    table: str
    rows_read: int
    inserted: int
    updated: int
    unchanged: int
    quarantined: int
    reasons: dict[str, int]
    ignored_columns: tuple[str, ...]
    left_out: LeftOut
    seconds: float
    converted_columns: tuple[str, ...] = ()
    left_out_rows: int = 0

    @property
    def refused(self) -> bool:
        """True if the file has rows, and the table has none of them."""
        return self.rows_read > 0 and not (self.inserted or self.updated or self.unchanged)


@dataclass(frozen=True)
class ImportReport:
    """What happened to the rows of all files."""

    files: tuple[FileReport, ...]

    @property
    def seconds(self) -> float:
        return sum(file.seconds for file in self.files)

    def total(self, count: str) -> int:
        """The sum over all files of a count of `FileReport`, such as `inserted`."""
        return sum(getattr(file, count) for file in self.files)


@dataclass(frozen=True)
class FileForm:
    """How files are written.

    Attributes:
        mapping: their names and units, if these are not ours.
        units: of backtest rows, after the mapping.
    """

    mapping: ImportMapping | None = None
    units: FileUnits = FileUnits()  # noqa: RUF009 (frozen)

    def rows(self, path: Path, *, features: bool) -> RowFile:
        """The rows of a file under our names."""
        return open_rows(path) if self.mapping is None else MappedRows(path, self.mapping, features=features)


OUR_FORM = FileForm()


def import_files(
    settings: Settings,
    results: Paths,
    features: Paths,
    progress: Progress = lambda *_: None,
    form: FileForm = OUR_FORM,
) -> ImportReport:
    """Load files of backtest rows, of market features, or both. Missing tables are created.

    Args:
        results, features: files of the kinds that `open_rows` knows; with a mapping, also those of `open_export`.
        form: of all these files.

    Raises:
        RowsRefused: columns of the backtest rows are in other units. Nothing of that file is loaded or in quarantine.
        ImportFileError: a file cannot be read or lacks a required column. Nothing of that file is loaded.
        SchemaError: the tables cannot be used, or the role may not write to them.
        DatabaseUnavailable: the database does not answer.
    """
    kinds: tuple[tuple[Paths, type[Intake]], ...] = ((results, ResultIntake), (features, FeatureIntake))
    paths = [(path, kind) for several, kind in kinds for path in _listed(several)]
    if not paths:
        raise ImportFileError("Nothing to import. Name a file of backtest rows, of market features, or of both.")
    ensure_source_tables(settings)
    layout = resolve_source(settings)
    files = [_open(settings, layout, path, kind, form) for path, kind in paths]
    return ImportReport(tuple(_import(settings, file, progress) for file in files))


@dataclass(frozen=True)
class _File:
    """A file whose columns fit its table."""

    source: str
    table: str
    batches: Iterator[FileBatch]
    intake: Intake
    converted: tuple[str, ...] = ()


@dataclass
class _Tally:
    """Counts of one file, made while it is read."""

    rows: int = 0
    staged: int = 0
    quarantined: int = 0
    bad_ids: set[str] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)


def _listed(paths: Paths) -> Sequence[Path]:
    return [paths] if isinstance(paths, Path) else paths or []


def _open(settings: Settings, layout: SourceLayout, path: Path, kind: type[Intake], form: FileForm) -> _File:
    rows, source = form.rows(path, features=kind is FeatureIntake), str(path.resolve())
    sample = rows.sample()
    intake = kind(settings, layout, path, sample)
    batches, factors = rows.batches(intake.read), {}
    if isinstance(intake, ResultIntake):
        seen = (batch.table for batch in rows.batches(intake.read))
        # What recognises per cent counts the rows as they are, and they come again once they are converted.
        counting = ResultIntake(settings, layout, path, sample) if form.units.percent else intake
        factors = form.units.factors(counting, seen, source)
        batches = (replace(batch, table=scaled(batch.table, factors)) for batch in batches)
    return _File(source, str(intake.target.relation), batches, intake, tuple(factors))


def _import(settings: Settings, file: _File, progress: Progress) -> FileReport:
    started, tally, name = perf_counter(), _Tally(), Path(file.source).name
    with quarantine.open_quarantine(settings) as refusals, psycopg_connect(settings, "rows") as connection:
        staging = Staging(connection, file.intake.target, file.intake.columns)
        with refusals.transaction():  # a file that is refused as a whole has no rows in quarantine
            for batch in file.batches:
                _stage(batch, file, staging, refusals, tally)
                progress(f"Reading {name}", batch.done)
            if isinstance(file.intake, ResultIntake):
                refuse_other_units(file.source, file.intake, file.converted)
            progress(f"Merging {tally.staged:,} rows of {name}", 0.0)
            merged = staging.merge()
            for refused in staging.refused():
                _refuse(refused, file, refusals, tally)
        accepted = set(staging.accepted(quarantine.pending_ids(refusals, file.table))) - tally.bad_ids
        connection.commit()
        quarantine.mark_repaired(refusals, file.source, accepted, file.table)
        progress(f"Merging {tally.staged:,} rows of {name}", 1.0)
    return FileReport(
        source=file.source,
        table=file.table,
        rows_read=tally.rows,
        inserted=merged.inserted,
        updated=merged.updated,
        unchanged=tally.staged - merged.inserted - merged.updated - merged.refused,
        quarantined=tally.quarantined,
        reasons=dict(tally.reasons.most_common()),
        ignored_columns=file.intake.ignored,
        converted_columns=file.converted,
        left_out=file.intake.left_out,
        left_out_rows=file.intake.left_out_rows,
        seconds=perf_counter() - started,
    )


def _stage(batch: FileBatch, file: _File, staging: Staging, refusals: psycopg.Connection, tally: _Tally) -> None:
    """Stage a batch's good rows and quarantine the others."""
    table = batch.table
    prepared, violations = file.intake.prepare(table)
    staged, violations = staging.add_good(prepared, batch.lines, violations)
    tally.rows += table.num_rows + len(batch.malformed)
    tally.staged += staged.num_rows
    if len(batch.malformed):
        _refuse(batch.malformed.assign(column_name=None, value=None), file, refusals, tally)
    if len(violations):
        positions = violations["position"].to_numpy(dtype=int)
        entries = violations.drop(columns="position").rename(columns={"id": "row_id", "column": "column_name"})
        _refuse(entries.assign(line=batch.lines[positions], raw=_raw(table, positions)), file, refusals, tally)


def _refuse(entries: pd.DataFrame, file: _File, refusals: psycopg.Connection, tally: _Tally) -> None:
    quarantine.add(refusals, entries.assign(source=file.source, table_name=file.table))
    tally.quarantined += entries["line"].nunique()
    tally.bad_ids.update(entries["row_id"].dropna())
    tally.reasons.update(entries["reason"])


def _raw(table: pa.Table, positions: np.ndarray) -> list[str]:
    """Rows as the file has them, as JSON that loses no digit, so that a row can be repaired from it."""
    return [row[:LONGEST_RAW] for row in json_rows(table, positions).to_pylist()]
