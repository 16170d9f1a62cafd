"""Quarantines the rows of the results table that belong to no month, which no load of a month would ever read.

A window without an end, or whose end no backtest can know (infinity, 9999-12-31) or no exchange existed at (0001-01-01,
any year before Christ), ends in no month that has a partition. All such rows are compared with the quarantine whenever
months are loaded, and at each comparison of all months.
"""

import pandas as pd

from cleverbetter_dagster.dataset.quality.rules import FUTURE, MISSING, TOO_EARLY
from cleverbetter_dagster.dataset.schema import END_DATE
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.quarantine import Entry, Filter, add, open_quarantine, select_entries, settle
from cleverbetter_dagster.store.source.changes import TableSnapshot
from cleverbetter_dagster.store.source.layout import SourceLayout

_REASONS = {f"{END_DATE} {reason}" for reason in (MISSING, TOO_EARLY, FUTURE)}


def quarantine_rows_without_month(settings: Settings, layout: SourceLayout, snapshot: TableSnapshot) -> int:
    """Make the quarantine hold exactly the present rows without a month. Returns how many there are.

    The entry of a row that has a month now, or was deleted, is settled. What else is wrong with the row is found when
    its month is loaded.
    """
    rows, source = set(snapshot.rows_without_month()), str(layout.results)
    with open_quarantine(settings) as connection:
        wanted = Filter(table=source, source=source, column=END_DATE)
        known = {_content(entry): entry.id for entry in select_entries(connection, wanted) if _is_ours(entry, source)}
        if new := rows - known.keys():
            frame = pd.DataFrame(list(new), columns=["row_id", "value", "reason"], dtype=object)
            add(connection, frame.assign(source=source, table_name=source, column_name=END_DATE, line=None, raw=None))
        if gone := known.keys() - rows:
            settle(connection, [known[content] for content in gone])
    return len(rows)


def _content(entry: Entry) -> tuple[str | None, str | None, str]:
    return entry.row_id, entry.value, entry.reason


def _is_ours(entry: Entry, source: str) -> bool:
    return entry.is_in_table and entry.source == source and entry.reason in _REASONS
