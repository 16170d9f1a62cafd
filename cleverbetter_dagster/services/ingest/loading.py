"""The rows of months, from the database to validated Arrow; rows that cannot be right go to quarantine.

All months of one load are read from one snapshot of the database: the one their digests are taken from. A load gives
way to those who alter the tables; when it is tried again, it reads only months that changed meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.as_of import AsOf, month_keys
from cleverbetter_dagster.dataset.quality.left_out import LeftOut, left_out_of
from cleverbetter_dagster.dataset.quality.rules import first_due
from cleverbetter_dagster.dataset.schema import END_DATE, ID
from cleverbetter_dagster.errors import InvalidInput, NotEnoughRows
from cleverbetter_dagster.services.ingest.change_detection import (
    all_months,
    changed_months,
    loadable_range,
    snapshot_months,
    utc_now,
)
from cleverbetter_dagster.services.ingest.dropped_history import DroppedHistory, dropped_history
from cleverbetter_dagster.services.ingest.rows_without_month import quarantine_rows_without_month
from cleverbetter_dagster.services.training.datasets import rows_until
from cleverbetter_dagster.services.training.panels import identified
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.giving_way import LOAD_PATIENCE_SECONDS, with_patience
from cleverbetter_dagster.store.quarantine import add, mark_repaired, open_quarantine, pending_ids
from cleverbetter_dagster.store.source.changes import Digest, InFlightRows, TableSnapshot, open_snapshot
from cleverbetter_dagster.store.source.layout import SourceLayout, resolve_source
from cleverbetter_dagster.store.source.load_log import EMPTY, LoadedMonth, read_load_log
from cleverbetter_dagster.store.source.loader import load_rows, month_counts
from cleverbetter_dagster.store.source.row_query import RowQuery


@dataclass(frozen=True)
class MonthLoad:
    """The good rows whose window ended in a month, and how many other rows went to quarantine.

    Attributes:
        due: when the first quarantined row that only lies in the future can be loaded; None without such rows.
        left_out_methods: method -> rows of it that are no backtests, so that they are neither here nor in quarantine.
    """

    table: pa.Table
    quarantined: int
    due: datetime | None = None
    left_out_methods: Mapping[str, int] = field(default_factory=dict)

    @property
    def left_out(self) -> LeftOut:
        """What was left out of the market features of these rows."""
        return left_out_of(self.table)

    @property
    def window_ends(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """First and last end of a window; None in a month without rows."""
        if not self.table.num_rows:
            return None
        ends = pc.min_max(self.table[END_DATE]).as_py()
        return pd.Timestamp(ends["min"]), pd.Timestamp(ends["max"])


@dataclass(frozen=True)
class Load:
    """The months of one load, and what `load_log.record_load` records of them once they are stored.

    Attributes:
        without_month: rows of the table whose window ends in no plausible month; they are in quarantine.
    """

    months: Mapping[str, MonthLoad]
    log: Mapping[str, LoadedMonth]
    without_month: int


def this_month() -> str:
    """The month that is open now."""
    return AsOf.of(utc_now()).key


def months_with_rows(settings: Settings) -> list[str]:
    """The months with a partition in which some window ended: `YYYY-MM`, in order of time."""
    current = this_month()
    counts = month_counts(settings, resolve_source(settings))
    return [month for month, rows in counts.items() if rows and settings.first_month <= month <= current]


def load_history(settings: Settings, as_of: str | None = None) -> pd.DataFrame:
    """The rows of every month up to `as_of` (by default the newest with rows) as one canonical frame.

    Raises:
        InvalidInput: `as_of` lies in the future.
        NotEnoughRows: no month up to `as_of` has any.
    """
    months = months_with_rows(settings)
    last = as_of or max(months, default="")
    if last > this_month():
        raise InvalidInput(f"as_of is {last}, which lies in the future: give a month up to {this_month()}.")
    if not months or last < months[0]:
        available = f"the first month with rows is {months[0]}" if months else "there are none"
        raise NotEnoughRows(
            f"No rows up to {as_of or 'now'}: {available}. Import some (`cleverbetter import --help`), "
            "or check DATABASE_URL."
        )
    load = load_months(settings, month_keys(months[0], last))
    return rows_until({month: loaded.table for month, loaded in load.months.items()}, AsOf.parse(last))


def load_months(settings: Settings, months: Sequence[str], *, catch_up: bool = False) -> Load:
    """The rows of `months`. Rows that cannot be right go to quarantine under the table's name.

    So do all rows that belong to no month, whichever months are loaded.

    Args:
        catch_up: also load every earlier month whose content changed since it was loaded, and every month between
            others that was never loaded: labels and history features need all months in between.

    Raises:
        CleverBetterError: as `resolve_source`, `open_snapshot` and `load_rows`.
    """
    done: dict[str, _Done] = {}
    return with_patience(lambda: _try_to_load(settings, months, catch_up, done), LOAD_PATIENCE_SECONDS)


def _try_to_load(settings: Settings, months: Sequence[str], catch_up: bool, done: dict[str, "_Done"]) -> Load:
    """One try. `done` holds the months that earlier tries loaded, and gets those that this one loads."""
    layout, now = resolve_source(settings), utc_now()
    log = read_load_log(settings)
    with open_snapshot(settings, layout) as snapshot:
        if catch_up:
            seen, _ = all_months(settings, snapshot, log)
            dropped = dropped_history(settings, snapshot, seen, log)
            months = sorted({*months, *_outdated(settings, seen, log, max(months), dropped)})
        else:
            seen = snapshot_months(snapshot, settings.recent_days, log, months)
            dropped = dropped_history(settings, snapshot, seen, log)
        empty = LoadedMonth.at(snapshot.id, EMPTY, InFlightRows())
        for month in months:
            digest = seen.get(month, empty).digest
            if month not in done or (done[month].layout, done[month].digest) != (layout, digest):
                done[month] = _Done(layout, digest, _load(settings, layout, AsOf.parse(month), now, snapshot))
        without_month = quarantine_rows_without_month(settings, layout, snapshot)
        left_out = snapshot.left_out_rows(months)
    loads = {
        month: replace(
            load,
            table=identified(dropped.added(settings, month, load.table)),
            left_out_methods=left_out.get(month, {}),
        )
        for month, load in ((month, done[month].load) for month in months)
    }
    kept, categories = dropped.months(log), settings.categorical_features
    log = {
        month: log[month] if month in kept else replace(seen.get(month, empty), due=load.due, categories=categories)
        for month, load in loads.items()
    }
    return Load(loads, log, without_month)


def _outdated(
    settings: Settings,
    seen: Mapping[str, LoadedMonth],
    log: Mapping[str, LoadedMonth],
    as_of: str,
    dropped: DroppedHistory,
) -> set[str]:
    """Months up to `as_of` that must be loaded before a model can be trained at it."""
    first, _ = loadable_range(settings, as_of)
    with_rows = [month for month, current in seen.items() if current.digest.rows and month >= first]
    between = month_keys(min([*with_rows, as_of]), as_of)
    outdated = {*changed_months(settings, seen, log, dropped), *(set(between) - log.keys())}
    return {month for month in outdated if first <= month <= as_of}


@dataclass(frozen=True)
class _Done:
    """A month that was loaded. Equal columns and an equal digest mean equal rows."""

    layout: SourceLayout
    digest: Digest
    load: MonthLoad


def _load(
    settings: Settings, layout: SourceLayout, month: AsOf, now: pd.Timestamp, snapshot: TableSnapshot
) -> MonthLoad:
    query = RowQuery(layout, month.start, month.end, categories=settings.categorical_features)
    rows, violations = load_rows(snapshot.session, query, now)
    source = str(layout.results)
    with open_quarantine(settings) as connection:
        if pending := pending_ids(connection):
            good = pc.filter(rows[ID], pc.is_in(rows[ID], pa.array(pending, pa.string())))
            mark_repaired(connection, source, good.to_pylist())
        if len(violations):
            names = {"id": "row_id", "column": "column_name"}
            entries = violations.drop(columns="position").rename(columns=names)
            add(connection, entries.assign(source=source, table_name=source, line=None, raw=None))
    return MonthLoad(rows, int(violations["position"].nunique()), first_due(violations))
