"""History that the table no longer has: what was loaded of it stays in training, unless a setting says otherwise.

A retention policy (`drop_chunks` of TimescaleDB, partitions that are detached) takes rows away from the old end of a
table. A month is dropped if the table begins after it. It is cut if the table begins within it, and the rows that
vanished are older, by one of their dates, than all that remain. Rows that vanish anywhere else were deleted, and so
were all rows of a table that was emptied or filled anew: it does not begin with rows that were loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.schema import CREATED_AT, END_DATE, ID, RUN_DATE, START_DATE
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.source.changes import TableSnapshot
from cleverbetter_dagster.store.source.load_log import LoadedMonth

ROWS_ARTEFACT = "training_rows/{month}.parquet"

_DATES = (END_DATE, RUN_DATE, START_DATE, CREATED_AT)
"""By one of these the rows of a table are divided into chunks or partitions."""


@dataclass(frozen=True)
class DroppedHistory:
    """What the table has dropped.

    Attributes:
        begins: the month of its oldest row; None if nothing was dropped.
        cut: loaded rows of that month that were dropped.
        only_cut: nothing else of that month changed.
    """

    begins: str | None = None
    cut: pa.Table | None = None
    only_cut: bool = False

    def months(self, loaded: Mapping[str, LoadedMonth]) -> set[str]:
        """The loaded months that count as unchanged although rows of them are gone."""
        if self.begins is None:
            return set()
        return {
            month
            for month, held in loaded.items()
            if (held.digest.rows and month < self.begins) or (self.only_cut and month == self.begins)
        }

    def added(self, settings: Settings, month: str, rows: pa.Table) -> pa.Table:
        """The rows of a month as the table has them, and those that it has dropped."""
        if self.begins is None or month > self.begins:
            return rows
        kept = self.cut if month == self.begins else _stored(settings, month)
        if kept is None or not kept.num_rows:
            return rows
        metadata = rows.schema.metadata or kept.schema.metadata
        both = pa.concat_tables([kept, rows], promote_options="default") if rows.num_rows else kept
        return both.replace_schema_metadata(metadata)


NOTHING_DROPPED = DroppedHistory()


def dropped_history(
    settings: Settings, snapshot: TableSnapshot, seen: Mapping[str, LoadedMonth], loaded: Mapping[str, LoadedMonth]
) -> DroppedHistory:
    """What the table has dropped of what was loaded of it.

    Args:
        seen: what some months hold in the snapshot.
        loaded: the load log.
    """
    fewer = (month in loaded and now.digest.rows < loaded[month].digest.rows for month, now in seen.items())
    if settings.dropped_history == "forget" or not any(fewer):
        return NOTHING_DROPPED
    begins = snapshot.first_month()
    stored = _stored(settings, begins) if begins in loaded else None
    if begins is None or stored is None:
        return NOTHING_DROPPED
    present = pa.array(snapshot.ids(begins), pa.string())
    remains = pc.is_in(stored[ID], present)
    if not pc.any(remains).as_py():
        return NOTHING_DROPPED
    gone = stored.filter(pc.invert(remains))
    if not _is_older(gone, stored.filter(remains)):
        return DroppedHistory(begins)
    unknown = len(present) - (stored.num_rows - gone.num_rows)
    in_quarantine = max(loaded[begins].digest.rows - stored.num_rows, 0)
    return DroppedHistory(begins, gone, only_cut=unknown <= in_quarantine)


def _is_older(gone: pa.Table, remaining: pa.Table) -> bool:
    """Whether all rows that are gone are older, by one of their dates, than those that remain."""
    dates = [name for name in _DATES if name in gone.column_names] if gone.num_rows else []
    bounds = ((pc.max(gone[name]).as_py(), pc.min(remaining[name]).as_py()) for name in dates)
    return any(last < first for last, first in bounds if last is not None and first is not None)


def _stored(settings: Settings, month: str | None) -> pa.Table | None:
    store, path = ArtefactStore(settings.artefacts_base), ROWS_ARTEFACT.format(month=month)
    return store.read_tables([path]) if store.exists(path) else None
