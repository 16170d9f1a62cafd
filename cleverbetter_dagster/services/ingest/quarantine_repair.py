"""Loads quarantined rows: corrected by hand, or examined again after the rules or the upstream row changed.

Nothing is lost: an entry stays pending until its row is loaded, and then keeps the correction. Both can be repeated.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from typing import Any

import pandas as pd
import psycopg
from psycopg import sql

from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.errors import ImportFileError, InvalidInput, SchemaError
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.reload import Loaded, load_objects, window_end_months
from cleverbetter_dagster.store.quarantine import (
    Entry,
    Filter,
    add,
    open_quarantine,
    select_entries,
    select_entry,
    select_of_same_row,
    settle,
)
from cleverbetter_dagster.store.source.layout import resolve_source

BATCH_ROWS = 1_000
"""Rows that are examined together, and loaded in one transaction."""

CUT_OFF = "its row was too long to be kept whole: correct the file and import it again"
NO_ROW = "its line is no row: correct the file and import it again"


@dataclass(frozen=True)
class Repair:
    """A planned repair: the row as its file has it, and the new value (as text) of each corrected column.

    Attributes:
        entries: all pending entries about the row.
    """

    entry: Entry
    row: Mapping[str, Any]
    corrections: Mapping[str, str]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Repaired:
    """The result of a repair. `still_wrong` has the reasons why the row was not loaded; empty if it was."""

    loaded: bool
    still_wrong: tuple[str, ...]
    settled: int
    months: tuple[str, ...]


@dataclass(frozen=True)
class Retried:
    """The result of examining everything again.

    Attributes:
        rows: number of rows examined.
        loaded: how many of them are in their table now.
        settled: how many entries are no longer pending.
        still_wrong: reason -> rows that are pending for it.
        skipped: reason -> rows that could not be examined.
        months: months whose rows changed, and which must be loaded again.
    """

    rows: int
    loaded: int
    settled: int
    still_wrong: Mapping[str, int]
    skipped: Mapping[str, int]
    months: tuple[str, ...]


def plan_repair(settings: Settings, entry_id: int, corrections: Mapping[str, str]) -> Repair:
    """The row of a pending entry, and its corrections. Changes nothing.

    Raises:
        NotStored: there is no such entry.
        InvalidInput: it is repaired already, its row is in a table or was not kept whole, or lacks the column.
    """
    with open_quarantine(settings) as connection:
        entry = select_entry(connection, entry_id)
        entries = tuple(select_of_same_row(connection, entry))
    if entry.status != "pending":
        raise InvalidInput(
            f"Entry {entry_id} was repaired on {entry.repaired_at:%Y-%m-%d %H:%M}; nothing is left to do."
        )
    if entry.is_in_table:
        raise InvalidInput(_repair_upstream(settings, entry, corrections))
    row, problem = _row(entry)
    if row is None:
        raise InvalidInput(f"Entry {entry_id} cannot be repaired here: {problem}.")
    _check_columns(row, corrections)
    return Repair(entry, row, corrections, entries)


def repair(settings: Settings, planned: Repair) -> Repaired:
    """Load the corrected row if it can be right now; otherwise change nothing.

    Raises:
        ImportFileError: the row lacks a column that the table needs.
        SchemaError: the tables cannot be used, or the role may not write to them.
    """
    entry, row = planned.entry, {**planned.row, **planned.corrections}
    loaded = load_objects(settings, resolve_source(settings), entry.table_name, entry.source, [row])
    wrong = [
        f"{violation.column} = {violation.value}: {violation.reason}" for violation in loaded.violations.itertuples()
    ]
    wrong += loaded.refused.values()
    if wrong:
        return Repaired(False, tuple(wrong), 0, ())
    with open_quarantine(settings) as connection:
        settled = settle(connection, [entry.id for entry in planned.entries], planned.corrections)
    return Repaired(True, (), settled, loaded.months)


def retry(settings: Settings) -> Retried:
    """Examine every pending row again, and load those that can be right now."""
    with open_quarantine(settings) as connection:
        retrial = _Retrial(settings, connection)
        pending = select_entries(connection, Filter())
        for rows in _batches([entry for entry in pending if not entry.is_in_table]):
            retrial.of_files(rows)
        retrial.in_table([entry for entry in pending if entry.is_in_table])
    return retrial.result()


def _batches(entries: list[Entry]) -> Iterator[list[list[Entry]]]:
    """Rows, each as the list of its entries; a batch has rows of one file and table, at most BATCH_ROWS."""

    def origin(entry: Entry) -> tuple[str, str]:
        return entry.source, entry.table_name

    def row(entry: Entry) -> tuple[str, str, int]:
        return entry.row_id or "", entry.raw or "", entry.line or 0

    for _, group in groupby(sorted(entries, key=origin), key=origin):
        rows = [list(same) for _, same in groupby(sorted(group, key=row), key=row)]
        for start in range(0, len(rows), BATCH_ROWS):
            yield rows[start : start + BATCH_ROWS]


class _Retrial:
    """Examines rows again and counts the results."""

    def __init__(self, settings: Settings, connection: psycopg.Connection) -> None:
        self._settings, self._connection, self._layout = settings, connection, resolve_source(settings)
        self._rows = self._loaded = self._settled = 0
        self._still_wrong: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._months: set[str] = set()

    def result(self) -> Retried:
        still_wrong, skipped = (dict(counts.most_common()) for counts in (self._still_wrong, self._skipped))
        months = tuple(sorted(self._months))
        return Retried(self._rows, self._loaded, self._settled, still_wrong, skipped, months)

    def of_files(self, batch: list[list[Entry]]) -> None:
        """Rows of one file and table, each as the list of its entries."""
        parsed = [(entries, *_row(entries[0])) for entries in batch]
        whole = [(entries, row) for entries, row, _ in parsed if row is not None]
        self._rows += len(batch)
        self._skipped.update(problem for _, row, problem in parsed if row is None)
        if not whole:
            return
        first, rows = whole[0][0][0], [entries for entries, _ in whole]
        objects = [row for _, row in whole]
        try:
            loaded = load_objects(self._settings, self._layout, first.table_name, first.source, objects)
        except (SchemaError, ImportFileError) as error:
            self._skipped[str(error)] += len(whole)
            return
        good = [entries for position, entries in enumerate(rows) if position not in loaded.left_out]
        self._loaded += len(good)
        self._settled += settle(self._connection, [entry.id for entries in good for entry in entries])
        self._add_new_reasons(rows, loaded)
        self._still_wrong.update(loaded.refused.values())
        self._still_wrong.update(loaded.violations.drop_duplicates("position")["reason"])
        self._months.update(loaded.months)

    def in_table(self, entries: list[Entry]) -> None:
        """Load again the months of rows that were wrong in the table itself; loading updates their entries."""
        ids = {entry.row_id for entry in entries if entry.row_id and entry.table_name == str(self._layout.results)}
        if not ids:
            return
        months = window_end_months(self._settings, self._layout, ids)
        load_months(self._settings, months)
        left = [entry for entry in select_entries(self._connection, Filter()) if entry.is_in_table]
        settled = len({entry.id for entry in entries} - {entry.id for entry in left})
        self._rows += len(ids)
        self._loaded += len(ids - {entry.row_id for entry in left})
        self._settled += settled
        self._still_wrong.update({entry.row_id: entry.reason for entry in left if entry.row_id in ids}.values())
        self._months.update(months if settled else ())

    def _add_new_reasons(self, rows: list[list[Entry]], loaded: Loaded) -> None:
        """Add the reasons that no rule found when the rows were first examined."""
        violations = loaded.violations.rename(columns={"id": "row_id", "column": "column_name"})
        new = []
        for violation in violations.to_dict("records"):
            entries = rows[violation.pop("position")]
            if (violation["column_name"], violation["reason"]) not in {(e.column_name, e.reason) for e in entries}:
                same = ("row_id", "source", "table_name", "line", "raw")
                new.append(violation | {name: getattr(entries[0], name) for name in same})
        if new:
            add(self._connection, pd.DataFrame(new))


def _check_columns(row: Mapping[str, Any], corrections: Mapping[str, str]) -> None:
    columns = f"The row has: {', '.join(row)}."
    if not corrections:
        raise InvalidInput(f"Name what to correct, as --set column=value. {columns}")
    unknown = next((name for name in corrections if name not in row), None)
    if unknown is not None:
        close = get_close_matches(unknown, row, n=1)
        raise InvalidInput(f"There is no column {unknown!r}{f'; closest: {close[0]}' if close else ''}. {columns}")


def _row(entry: Entry) -> tuple[dict[str, Any] | None, str]:
    """The row as its file has it; or None, and why it is not known."""
    try:
        row = json.loads(entry.raw or "")
    except ValueError:
        return None, CUT_OFF if (entry.raw or "").startswith("{") else NO_ROW
    return (row, "") if isinstance(row, dict) else (None, NO_ROW)


def _repair_upstream(settings: Settings, entry: Entry, corrections: Mapping[str, str]) -> str:
    """How to correct a row in the table itself: we never write to a table that we do not own."""
    layout = resolve_source(settings)
    column = next(iter(corrections), entry.column_name or "...")
    statement = sql.SQL("UPDATE {} SET {} = {} WHERE {} = {}").format(
        sql.Identifier(*entry.table_name.split(".", 1)),
        sql.Identifier(column),
        sql.Literal(corrections.get(column, "...")),
        sql.Identifier(layout.columns[ID].name),
        sql.Literal(entry.row_id),
    )
    return (
        f"The row of entry {entry.id} is in {entry.table_name} itself, which is never written to here. Correct it "
        f"there, such as\n  {statement.as_string()}\nand then run `cleverbetter quarantine retry`."
    )
