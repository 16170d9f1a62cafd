"""Finds the months whose rows changed since they were loaded: cheaply in recent rows, or completely.

`recent_changes` looks only at rows that arrived lately, and finds those written since their month was loaded.
`all_changes` compares every month: its row versions, and its content where the versions differ. So it also finds
deleted rows, late features of old rows, imports that set `created_at` themselves, and rows that a restored database
lacks. Before every training `all_changes` decides.

A month can also change without any change of its rows: when a row that was refused because it lies in the future is
due.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.schema import END_DATE
from cleverbetter_dagster.services.ingest.dropped_history import ROWS_ARTEFACT, DroppedHistory, dropped_history
from cleverbetter_dagster.services.ingest.rows_without_month import quarantine_rows_without_month
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.postgres.giving_way import LOOK_PATIENCE_SECONDS, with_patience
from cleverbetter_dagster.store.source.changes import (
    NO_VERSIONS,
    Digest,
    InFlightRows,
    SnapshotId,
    TableSnapshot,
    open_snapshot,
)
from cleverbetter_dagster.store.source.layout import SourceLayout, resolve_source
from cleverbetter_dagster.store.source.load_log import (
    EMPTY,
    ComparedState,
    LoadedMonth,
    confirm_loads,
    read_compared_state,
    read_load_log,
    record_compared_state,
)
from cleverbetter_dagster.store.source.table_state import Comparison


@dataclass(frozen=True)
class DetectedChanges:
    """The months that changed since they were loaded.

    Attributes:
        changed: month -> about how many of its rows are new, changed or deleted; at least 1. If the content changed,
            rows that were written again unchanged, or during the load, count too.
        compared: what was compared, in a few words for a person.
        complete: every month was compared, whenever its rows arrived.
        months: what each month holds now (if not `complete`: what was loaded of it), and which run loaded it last.
        ignored: changed months that are never loaded: before the first partition, too far back, or in the future.
        without_month: rows whose window ends in no plausible month, which are in quarantine; 0 unless `complete`.
        kept: loaded months that count as unchanged although the table has dropped rows of them.
    """

    changed: Mapping[str, int]
    compared: str
    complete: bool
    months: Mapping[str, LoadedMonth]
    ignored: Mapping[str, int]
    without_month: int = 0
    kept: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"Compared the {self.compared}."
        if self.ignored:
            months = ", ".join(sorted(self.ignored))
            text += f" Ignored months (see CLEVERBETTER_MONTHS_BACK and CLEVERBETTER_FIRST_MONTH): {months}."
        if self.kept:
            text += f" Kept although the table has dropped rows of them: {', '.join(self.kept)}."
        if self.without_month:
            text += f" Rows in quarantine because their {END_DATE} is in no plausible month: {self.without_month:,}."
        return text


def recent_changes(settings: Settings, pending: Mapping[str, LoadedMonth] | None = None) -> DetectedChanges:
    """Changes in rows that arrived lately. Compares contents if transaction ids cannot be read or trusted.

    Args:
        pending: what earlier comparisons saw of months that are not loaded yet; only later changes are returned.

    Raises:
        CleverBetterError: as `resolve_source` and `open_snapshot`.
    """
    return with_patience(lambda: _recent_changes(settings, pending or {}), LOOK_PATIENCE_SECONDS)


def _recent_changes(settings: Settings, pending: Mapping[str, LoadedMonth]) -> DetectedChanges:
    layout, loaded, days = resolve_source(settings), read_load_log(settings), settings.recent_days
    known = {**loaded, **pending}
    with open_snapshot(settings, layout) as snapshot:
        if reason := _not_comparable(snapshot.id, known):
            return _compare_all(settings, layout, snapshot, f"contents of all months, because {reason}")
        compared = read_compared_state(settings) if snapshot.chunks else None
        if compared and compared.state.chunks != snapshot.chunks:
            reason = "rows were compressed, or written to compressed chunks"
            return _compare_all(settings, layout, snapshot, f"contents of all months, because {reason}")
        # Without an earlier comparison nothing tells which compressed rows are new.
        unknown_chunks = snapshot.chunks is None or (snapshot.chunks and not compared)
        watermarks = {month: seen.xmin_watermark for month, seen in known.items()}
        recent = None if unknown_chunks else snapshot.recent(watermarks, None, days)
        if recent is None:
            digests = snapshot.digests(snapshot.recent_months(days))
            changed = {
                month: _difference(digest.rows, known.get(month))
                for month, digest in digests.items()
                if month not in known or known[month].digest != digest
            }
            return _detected(settings, changed, "contents of the months that got rows lately", loaded, complete=False)
    unknown = LoadedMonth(EMPTY, "", 0, InFlightRows())
    changed = {
        month: max(rows.rows - known.get(month, unknown).in_flight.rows, 1)
        for month, rows in recent.items()
        if rows != known.get(month, unknown).in_flight
    }
    return _detected(settings, changed, f"rows of the last {days} days", loaded, complete=False)


def all_changes(settings: Settings) -> DetectedChanges:
    """Compare every month with what was loaded of it, and record which months are equal.

    Rows that belong to no month go to quarantine.

    Raises:
        CleverBetterError: as `resolve_source` and `open_snapshot`.
    """

    def compare() -> DetectedChanges:
        layout = resolve_source(settings)
        with open_snapshot(settings, layout) as snapshot:
            return _compare_all(settings, layout, snapshot, "contents of all months")

    return with_patience(compare, LOOK_PATIENCE_SECONDS)


def utc_now() -> pd.Timestamp:
    """The present; rows with a later date lie in the future."""
    return pd.Timestamp.now(tz="UTC")


def newest_with_rows(months: Mapping[str, LoadedMonth]) -> str | None:
    """The newest month that has rows: the as_of to train at. None without any rows."""
    return max((month for month, loaded in months.items() if loaded.digest.rows), default=None)


def snapshot_months(
    snapshot: TableSnapshot,
    days: int,
    loaded: Mapping[str, LoadedMonth],
    months: Sequence[str] | None = None,
) -> dict[str, LoadedMonth]:
    """What `months` hold in the snapshot. None: all months with rows, and all loaded ones.

    Content is read only if a month's row versions differ from those that were loaded.
    """
    versions = snapshot.versions(months)
    digests = snapshot.digests(months) if versions is None else _digests(snapshot, versions, loaded)
    recent = snapshot.recent({}, snapshot.id.xmin, days) or {}
    return {
        month: LoadedMonth.at(
            snapshot.id,
            digests.get(month, EMPTY),
            recent.get(month, InFlightRows()),
            None if versions is None else versions.get(month, NO_VERSIONS),
        )
        for month in sorted({*digests, *(loaded if months is None else months)})
    }


def all_months(
    settings: Settings, snapshot: TableSnapshot, loaded: Mapping[str, LoadedMonth]
) -> tuple[dict[str, LoadedMonth], Comparison | None]:
    """As `snapshot_months` of all months, without reading months that the last comparison found equal, if since then
    rows only arrived, and none in them; and how the tables' state became of that of the last comparison.
    """
    last = read_compared_state(settings)
    comparison = snapshot.compare(last.state if last else None)
    if last is None or comparison is None or comparison.arrived is None:
        return snapshot_months(snapshot, settings.recent_days, loaded), comparison
    touched = comparison.arrived.union(last.state.in_flight)
    same = {month for month, held in loaded.items() if held.compared == last.name} - touched
    others = sorted({*loaded, *last.unloaded, *touched} - same)
    seen = snapshot_months(snapshot, settings.recent_days, loaded, others) if others else {}
    seen = {month: now for month, now in seen.items() if now.digest.rows or month in loaded}
    for month in same:  # none of its rows is at or above the watermark
        before = loaded[month]
        seen[month] = LoadedMonth.at(snapshot.id, before.digest, InFlightRows(), before.versions)
    return dict(sorted(seen.items())), comparison


def changed_months(
    settings: Settings, seen: Mapping[str, LoadedMonth], loaded: Mapping[str, LoadedMonth], dropped: DroppedHistory
) -> dict[str, int]:
    """Months to load.

    Their content or the setting of categories changed, a row of theirs is due, or the artefact store has lost them.
    Rows that the table has dropped are no change.
    """
    store, now = ArtefactStore(settings.artefacts_base), utc_now()
    changed, kept = {}, dropped.months(loaded)
    for month, current in seen.items():
        if month in kept:
            continue
        before = loaded.get(month)
        if before is None or before.digest != current.digest:
            changed[month] = _difference(current.digest.rows, before)
        elif before.due is not None and before.due <= now:
            changed[month] = 1
        elif current.digest.rows and (
            before.categories != settings.categorical_features or not store.exists(ROWS_ARTEFACT.format(month=month))
        ):
            changed[month] = current.digest.rows
    return changed


def loadable_range(settings: Settings, newest: str) -> tuple[str, str]:
    """First and last month that is loaded automatically, if `newest` is the newest month with rows."""
    current, first = AsOf.of(utc_now()).key, settings.first_month
    if settings.months_back:
        last = AsOf.parse(max(first, min(newest, current)))
        first = last.plus(-min(settings.months_back, last - AsOf.parse(first))).key
    return first, current


def _digests(
    snapshot: TableSnapshot, versions: Mapping[str, str], loaded: Mapping[str, LoadedMonth]
) -> dict[str, Digest]:
    same = {
        month: loaded[month].digest
        for month, written in versions.items()
        if month in loaded and loaded[month].versions == written and loaded[month].is_comparable(snapshot.id)
    }
    others = sorted(versions.keys() - same.keys())
    return same | (snapshot.digests(others) if others else {})


def _compare_all(settings: Settings, layout: SourceLayout, snapshot: TableSnapshot, compared: str) -> DetectedChanges:
    loaded = read_load_log(settings)
    seen, comparison = all_months(settings, snapshot, loaded)
    dropped = dropped_history(settings, snapshot, seen, loaded)
    changed = changed_months(settings, seen, loaded, dropped)
    altered = [month for month in changed if month in loaded and loaded[month].digest != seen[month].digest]
    watermarks = {month: loaded[month].xmin_watermark for month in altered if loaded[month].is_comparable(snapshot.id)}
    for month, rows in snapshot.written_since(watermarks).items():
        changed[month] = max(changed[month], rows)
    name = ""
    if comparison:
        name = uuid.uuid4().hex
        unloaded = tuple(month for month in seen if month not in loaded)
        record_compared_state(settings, ComparedState(name, comparison.state, unloaded))
    equal = {month: replace(now, compared=name) for month, now in seen.items() if month in loaded}
    confirm_loads(settings, {month: now for month, now in equal.items() if month not in changed})
    seen = {month: replace(now, run_id=loaded[month].run_id) if month in loaded else now for month, now in seen.items()}
    detected = _detected(settings, changed, compared, seen, complete=True)
    without_month, kept = quarantine_rows_without_month(settings, layout, snapshot), dropped.months(loaded)
    return replace(detected, without_month=without_month, kept=tuple(sorted(kept)))


def _detected(
    settings: Settings,
    changed: Mapping[str, int],
    compared: str,
    months: Mapping[str, LoadedMonth],
    *,
    complete: bool,
) -> DetectedChanges:
    newest = newest_with_rows(months)
    first, last = loadable_range(settings, max([*([newest] if newest else []), *changed], default=settings.first_month))
    loadable = {month: rows for month, rows in changed.items() if first <= month <= last}
    ignored = {month: rows for month, rows in changed.items() if month not in loadable}
    past = {month: loaded for month, loaded in months.items() if month <= last}
    return DetectedChanges(loadable, compared, complete, past, ignored)


def _not_comparable(snapshot_id: SnapshotId, loaded: Mapping[str, LoadedMonth]) -> str | None:
    """Why transaction ids cannot show what changed since the loads; None if they can."""
    if not loaded:
        return "nothing was loaded yet"
    if any(month.identity != snapshot_id.identity for month in loaded.values()):
        return "the server or a table is not the one they were loaded from"
    if not all(snapshot_id.can_compare(month.xmin_watermark) for month in loaded.values()):
        return "the server's transaction ids are too far from those of the loads"
    return None


def _difference(rows: int, before: LoadedMonth | None) -> int:
    return max(abs(rows - (before.digest.rows if before else 0)), 1)
