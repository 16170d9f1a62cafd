"""What landed in the two tables since it was last taken: a glance that costs next to nothing, and the full truth.

A glance looks at rows that arrived lately and finds those written since their month was loaded. The reconciliation
compares every month, in content where the versions of its rows are not those that were loaded: it also finds deleted
rows, features that came late to old rows, imports that set `created_at` themselves, and what a restored database lacks.
Before every training it is the reconciliation that counts.

A month changes without any row of it changing, too: when a row that was refused because it lies in the future is due.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.source.changes import NO_VERSIONS, Ahead, Digest, Look, Moment, open_look
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.load_log import EMPTY, MonthTaken, confirm_taken, read_taken

ROWS_ARTEFACT = "training_rows/{month}.parquet"


@dataclass(frozen=True)
class Found:
    """What a look found.

    Attributes:
        changed: month -> about how many of its rows are new, changed or gone since it was loaded; at least 1. Where its
            content has changed, those written again as they were, or while it was loaded, count as well.
        how: in a few words, for a person, how that was found out.
        complete: every month was compared, whenever its rows arrived.
        months: what every month holds now (of a glance: what was loaded of it), and which run loaded it last.
        out_of_reach: changed months left alone: before the first partition, further back than is watched, or to come.
    """

    changed: Mapping[str, int]
    how: str
    complete: bool
    months: Mapping[str, MonthTaken]
    out_of_reach: Mapping[str, int] = field(default_factory=dict)


def glance(settings: Settings, noted: Mapping[str, MonthTaken] | None = None) -> Found:
    """What arrived lately. Falls back to comparing contents where transaction ids cannot be read or trusted.

    Args:
        noted: what earlier looks saw of months that are not loaded yet; `changed` is what came after that.

    Raises:
        CleverBetterError: as `resolve_source` and `open_look`.
    """
    layout, taken, days = resolve_source(settings), read_taken(settings), settings.recent_days
    known = {**taken, **(noted or {})}
    with open_look(settings, layout) as look:
        if distrust := _distrust(look.moment, known):
            return _compared(settings, look, taken, distrust)
        recent = look.recent({month: seen.mark for month, seen in known.items()}, None, days)
        if recent is None:
            digests = look.digests(look.recent_months(days))
            changed = {
                month: _difference(digest.rows, known.get(month))
                for month, digest in digests.items()
                if month not in known or known[month].digest != digest
            }
            return _found(settings, changed, "contents of the months that got rows lately", taken, complete=False)
    nobody = MonthTaken(EMPTY, "", 0, Ahead())
    changed = {
        month: max(ahead.rows - known.get(month, nobody).ahead.rows, 1)
        for month, ahead in recent.items()
        if ahead != known.get(month, nobody).ahead
    }
    return _found(settings, changed, f"rows of the last {days} days written since", taken, complete=False)


def reconcile(settings: Settings) -> Found:
    """Compare the content of every month with what was loaded of it, and remember those that are equal.

    Raises:
        CleverBetterError: as `resolve_source` and `open_look`.
    """
    layout, taken = resolve_source(settings), read_taken(settings)
    with open_look(settings, layout) as look:
        return _compared(settings, look, taken, "contents of all months")


def present() -> pd.Timestamp:
    """Now: what lies after it is in the future."""
    return pd.Timestamp.now(tz="UTC")


def newest_with_rows(months: Mapping[str, MonthTaken]) -> str | None:
    """The newest month that has rows: the as_of to train at. None where there are no rows at all."""
    return max((month for month, taken in months.items() if taken.digest.rows), default=None)


def seen_now(
    look: Look, days: int, taken: Mapping[str, MonthTaken], months: Sequence[str] | None = None
) -> dict[str, MonthTaken]:
    """What `months` (None: all) hold at this look; of all of those `taken` also where they have no rows.

    Content is read only of months whose row versions are not those that were taken.
    """
    versions = look.versions(months)
    digests = look.digests(months) if versions is None else _digests(look, versions, taken)
    recent = look.recent({}, look.moment.xmin, days) or {}
    listed = {*digests, *(taken if months is None else months)}
    return {
        month: MonthTaken.at(
            look.moment,
            digests.get(month, EMPTY),
            recent.get(month, Ahead()),
            None if versions is None else versions.get(month, NO_VERSIONS),
        )
        for month in sorted(listed)
    }


def differing(settings: Settings, seen: Mapping[str, MonthTaken], taken: Mapping[str, MonthTaken]) -> dict[str, int]:
    """Months whose content is not what was loaded, or can be loaded by now, or is no longer in the artefact store."""
    store, clock = ArtefactStore(settings.artefacts_base), present()
    changed = {}
    for month, now in seen.items():
        before = taken.get(month)
        if before is None or before.digest != now.digest:
            changed[month] = _difference(now.digest.rows, before)
        elif before.due is not None and before.due <= clock:
            changed[month] = 1
        elif now.digest.rows and not store.exists(ROWS_ARTEFACT.format(month=month)):
            changed[month] = now.digest.rows
    return changed


def reachable(settings: Settings, newest: str) -> tuple[str, str]:
    """First and last month that is loaded by itself, seen from the newest month that has rows."""
    current = AsOf.of(present()).key
    first = settings.first_month
    if settings.months_back:
        back = pd.Period(min(newest, current), "M") - settings.months_back
        first = max(first, back.strftime("%Y-%m"))
    return first, current


def _digests(look: Look, versions: Mapping[str, str], taken: Mapping[str, MonthTaken]) -> dict[str, Digest]:
    same = {
        month: taken[month].digest
        for month, written in versions.items()
        if month in taken and taken[month].versions == written and taken[month].trusted_at(look.moment)
    }
    others = sorted(versions.keys() - same.keys())
    return same | (look.digests(others) if others else {})


def _compared(settings: Settings, look: Look, taken: Mapping[str, MonthTaken], how: str) -> Found:
    seen = seen_now(look, settings.recent_days, taken)
    changed = differing(settings, seen, taken)
    altered = [month for month in changed if month in taken and taken[month].digest != seen[month].digest]
    marks = {month: taken[month].mark for month in altered if taken[month].trusted_at(look.moment)}
    for month, rows in look.written(marks).items():
        changed[month] = max(changed[month], rows)
    confirm_taken(settings, {month: now for month, now in seen.items() if month in taken and month not in changed})
    seen = {month: replace(now, run_id=taken[month].run_id) if month in taken else now for month, now in seen.items()}
    return _found(settings, changed, how, seen, complete=True)


def _found(
    settings: Settings, changed: Mapping[str, int], how: str, months: Mapping[str, MonthTaken], *, complete: bool
) -> Found:
    newest = newest_with_rows(months)
    first, last = reachable(settings, max([*([newest] if newest else []), *changed], default=settings.first_month))
    within = {month: rows for month, rows in changed.items() if first <= month <= last}
    beyond = {month: rows for month, rows in changed.items() if month not in within}
    kept = {month: taken for month, taken in months.items() if month <= last}
    return Found(within, how, complete, kept, beyond)


def _distrust(moment: Moment, taken: Mapping[str, MonthTaken]) -> str | None:
    """Why transaction ids say nothing about what was taken; None where they do."""
    if not taken:
        return "contents of all months: nothing was loaded yet"
    if any(known.identity != moment.identity for known in taken.values()):
        return "contents of all months: the server or a table is another one than when they were loaded"
    if not all(moment.reaches(known.mark) for known in taken.values()):
        return "contents of all months: too many transactions since they were loaded, or fewer than then"
    return None


def _difference(rows: int, before: MonthTaken | None) -> int:
    return max(abs(rows - (before.digest.rows if before else 0)), 1)
