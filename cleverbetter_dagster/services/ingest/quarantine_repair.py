"""Rows out of quarantine: corrected by hand, or examined again after the rules or the upstream row changed.

Nothing is lost: an entry stays until its row is loaded, and then says what was corrected. Both can be repeated.
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

from cleverbetter_dagster.errors import ImportFileError, InvalidInput, NotStored, SchemaError
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.reload import Loaded, decision_months, load_objects
from cleverbetter_dagster.store.quarantine.entries import (
    Entry,
    Filter,
    select_entries,
    select_entry,
    select_of_same_row,
    settle,
)
from cleverbetter_dagster.store.quarantine.table import add, open_quarantine
from cleverbetter_dagster.store.source.layout import SourceLayout, resolve_source

AT_ONCE = 1_000
"""Rows that are examined, and loaded in one transaction, together."""

CUT_OFF = "its row was too long to be kept whole: correct the file and import it again"
NO_ROW = "its line is no row: correct the file and import it again"


@dataclass(frozen=True)
class Repair:
    """A row with what is to be corrected in it; nothing was changed yet.

    Attributes:
        row: the row as its file has it.
        corrections: column -> new value, as text.
        entries: all that is pending about the row.
    """

    entry: Entry
    row: Mapping[str, Any]
    corrections: Mapping[str, str]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Repaired:
    """What came of it: `still_wrong` says why the corrected row was not loaded; empty where it was."""

    loaded: bool
    still_wrong: tuple[str, ...]
    settled: int
    months: tuple[str, ...]


@dataclass(frozen=True)
class Retried:
    """What came of examining everything again.

    Attributes:
        rows: examined.
        loaded: of these, those that are in their table now.
        settled: entries that no longer wait.
        still_wrong: reason -> rows that wait for it.
        skipped: reason -> rows that could not be examined.
        months: months whose rows changed and are to be loaded again.
    """

    rows: int
    loaded: int
    settled: int
    still_wrong: Mapping[str, int]
    skipped: Mapping[str, int]
    months: tuple[str, ...]


def plan_repair(settings: Settings, entry_id: int, corrections: Mapping[str, str]) -> Repair:
    """The row of a pending entry, and what is to be corrected in it.

    Raises:
        NotStored: there is no such entry.
        InvalidInput: it is repaired already, its row is in a table or was not kept whole, or has no such column.
    """
    with open_quarantine(settings) as connection:
        entry = select_entry(connection, entry_id)
        if entry is None:
            raise NotStored(f"There is no entry {entry_id} in quarantine; `cleverbetter quarantine list` shows them.")
        entries = tuple(select_of_same_row(connection, entry))
    if entry.status != "pending":
        raise InvalidInput(
            f"Entry {entry_id} was repaired on {entry.repaired_at:%Y-%m-%d %H:%M}; nothing is to be done."
        )
    if entry.met_in_table:
        raise InvalidInput(_upstream(settings, entry, corrections))
    row, trouble = _row(entry)
    if row is None:
        raise InvalidInput(f"Entry {entry_id} cannot be repaired here: {trouble}.")
    _check_columns(row, corrections)
    return Repair(entry, row, corrections, entries)


def repair(settings: Settings, planned: Repair) -> Repaired:
    """Load the corrected row if it can be right now; otherwise everything stays as it was.

    Raises:
        ImportFileError: the table cannot hold a value.
        SchemaError: the tables cannot be used, or the role may not write to them.
    """
    entry, row = planned.entry, {**planned.row, **planned.corrections}
    loaded = load_objects(settings, resolve_source(settings), entry.table_name, entry.source, [row])
    wrong = (*(f"{found.column} = {found.value}: {found.reason}" for found in loaded.violations.itertuples()),)
    wrong += tuple(loaded.refused.values())
    if wrong:
        return Repaired(False, wrong, 0, ())
    with open_quarantine(settings) as connection:
        settled = settle(connection, [found.id for found in planned.entries], planned.corrections)
    return Repaired(True, (), settled, loaded.months)


def retry(settings: Settings) -> Retried:
    """Examine every row that waits again, and load those that can be right by now."""
    layout = resolve_source(settings)
    with open_quarantine(settings) as connection:
        pending = select_entries(connection, Filter())
        of_files = [entry for entry in pending if not entry.met_in_table]
        found = [_retry_batch(settings, layout, connection, batch) for batch in _batches(of_files)]
        found.append(_retry_table(settings, layout, connection, [entry for entry in pending if entry.met_in_table]))
    return Retried(
        rows=sum(part.rows for part in found),
        loaded=sum(part.loaded for part in found),
        settled=sum(part.settled for part in found),
        still_wrong=_summed(part.still_wrong for part in found),
        skipped=_summed(part.skipped for part in found),
        months=tuple(sorted({month for part in found for month in part.months})),
    )


def _batches(entries: list[Entry]) -> Iterator[list[list[Entry]]]:
    """Rows, each with its entries, of one file and table and at most AT_ONCE together."""

    def place(entry: Entry) -> tuple[str, str]:
        return entry.source, entry.table_name

    def row(entry: Entry) -> tuple[str, str, int]:
        return entry.row_id or "", entry.raw or "", entry.line or 0

    for _, group in groupby(sorted(entries, key=place), key=place):
        rows = [list(same) for _, same in groupby(sorted(group, key=row), key=row)]
        for start in range(0, len(rows), AT_ONCE):
            yield rows[start : start + AT_ONCE]


def _retry_batch(
    settings: Settings, layout: SourceLayout, connection: psycopg.Connection, batch: list[list[Entry]]
) -> Retried:
    read = [(entries, *_row(entries[0])) for entries in batch]
    skipped = Counter(trouble for _, row, trouble in read if row is None)
    whole = [(entries, row) for entries, row, _ in read if row is not None]
    if not whole:
        return Retried(len(batch), 0, 0, {}, skipped, ())
    first = whole[0][0][0]
    try:
        loaded = load_objects(settings, layout, first.table_name, first.source, [row for _, row in whole])
    except (SchemaError, ImportFileError) as error:
        return Retried(len(batch), 0, 0, {}, {**skipped, str(error): len(whole)}, ())
    rows = [entries for entries, _ in whole]
    good = [entries for position, entries in enumerate(rows) if position not in loaded.left_out]
    settled = settle(connection, [entry.id for entries in good for entry in entries])
    _add_new_reasons(connection, rows, loaded)
    wrong = Counter(loaded.refused.values())
    wrong.update(loaded.violations.drop_duplicates("position")["reason"])
    return Retried(len(batch), len(good), settled, wrong, skipped, loaded.months)


def _add_new_reasons(connection: psycopg.Connection, rows: list[list[Entry]], loaded: Loaded) -> None:
    """Keep the reasons nobody had found when the rows were first examined."""
    found = loaded.violations.rename(columns={"id": "row_id", "column": "column_name"}).to_dict("records")
    new = [
        {**violation, "row_id": entry.row_id, "source": entry.source, "table_name": entry.table_name}
        | {"line": entry.line, "raw": entry.raw}
        for violation in found
        for entry in rows[violation["position"]][:1]
        if (violation["column_name"], violation["reason"])
        not in {(known.column_name, known.reason) for known in rows[violation["position"]]}
    ]
    if new:
        add(connection, pd.DataFrame(new))


def _retry_table(
    settings: Settings, layout: SourceLayout, connection: psycopg.Connection, entries: list[Entry]
) -> Retried:
    """Load the months again whose rows were wrong in the table itself; loading keeps the account of them."""
    ids = {entry.row_id for entry in entries if entry.row_id and entry.table_name == str(layout.results)}
    if not ids:
        return Retried(0, 0, 0, {}, {}, ())
    months = decision_months(settings, layout, ids)
    load_months(settings, months)
    known = {entry.id for entry in entries}
    left = [entry for entry in select_entries(connection, Filter()) if entry.met_in_table]
    waiting = {entry.row_id for entry in left}
    reasons = Counter({entry.row_id: entry.reason for entry in left if entry.row_id in ids}.values())
    settled = len(known - {entry.id for entry in left})
    return Retried(len(ids), len(ids - waiting), settled, reasons, {}, tuple(months) if settled else ())


def _check_columns(row: Mapping[str, Any], corrections: Mapping[str, str]) -> None:
    has = f"The row has: {', '.join(row)}."
    if not corrections:
        raise InvalidInput(f"Name what to correct, as --set column=value. {has}")
    unknown = next((name for name in corrections if name not in row), None)
    if unknown is not None:
        close = get_close_matches(unknown, row, n=1)
        raise InvalidInput(f"There is no column {unknown!r}{f'; closest: {close[0]}' if close else ''}. {has}")


def _row(entry: Entry) -> tuple[dict[str, Any] | None, str]:
    """The row as its file has it; None, and why, where that is not known."""
    try:
        row = json.loads(entry.raw or "")
    except ValueError:
        return None, CUT_OFF if (entry.raw or "").startswith("{") else NO_ROW
    return (row, "") if isinstance(row, dict) else (None, NO_ROW)


def _upstream(settings: Settings, entry: Entry, corrections: Mapping[str, str]) -> str:
    """What to do about a row that is in a table already: tables of others are never written to."""
    from psycopg import sql

    layout = resolve_source(settings)
    column = next(iter(corrections), entry.column_name or "...")
    key = layout.columns["id"].name if entry.table_name == str(layout.results) else "id"
    statement = sql.SQL("UPDATE {} SET {} = {} WHERE {} = {}").format(
        sql.Identifier(*entry.table_name.split(".", 1)),
        sql.Identifier(column),
        sql.Literal(corrections.get(column, "...")),
        sql.Identifier(key),
        sql.Literal(entry.row_id),
    )
    return (
        f"The row of entry {entry.id} is in {entry.table_name} itself, which is never written to here. Correct it "
        f"there, such as\n  {statement.as_string()}\nand then run `cleverbetter quarantine retry`."
    )


def _summed(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total.most_common())
