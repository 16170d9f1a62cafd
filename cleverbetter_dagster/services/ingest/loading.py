"""The rows of months, from the database to validated Arrow; rows that cannot be right go to quarantine.

All months of one load are read in one snapshot of the database, the one in which their digests are taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.quality.rules import first_due
from cleverbetter_dagster.dataset.schema import END_DATE, ID
from cleverbetter_dagster.errors import InvalidInput, NotEnoughRows
from cleverbetter_dagster.services.ingest.change_detection import differing, present, reachable, seen_now
from cleverbetter_dagster.services.training.datasets import rows_until
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.quarantine.table import add, mark_repaired, open_quarantine, pending_ids
from cleverbetter_dagster.store.source.changes import Ahead, open_look
from cleverbetter_dagster.store.source.layout import SourceLayout, resolve_source
from cleverbetter_dagster.store.source.load_log import EMPTY, MonthTaken, read_taken
from cleverbetter_dagster.store.source.loader import LoadedRows, load_rows, month_counts


@dataclass(frozen=True)
class MonthLoad:
    """The rows whose window ended in a month: those that can be right, and how many others went to quarantine.

    Attributes:
        due: when the first of those others that only lie in the future can be right; None without any.
    """

    table: pa.Table
    quarantined: int
    due: datetime | None = None

    @property
    def window_ends(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """First and last end of a window; None in a month without rows."""
        if not self.table.num_rows:
            return None
        found = pc.min_max(self.table[END_DATE]).as_py()
        return pd.Timestamp(found["min"]), pd.Timestamp(found["max"])


def this_month() -> str:
    """The month it is, in UTC."""
    return AsOf.of(pd.Timestamp.now(tz="UTC")).key


def months_with_rows(settings: Settings) -> list[str]:
    """The months, `YYYY-MM` in order of time, in which some window ended; those with a partition only."""
    current = this_month()
    counts = month_counts(settings, resolve_source(settings))
    return [month for month, rows in counts.items() if rows and settings.first_month <= month <= current]


def load_history(settings: Settings, as_of: str | None = None) -> pd.DataFrame:
    """The rows of every month up to `as_of` (by default the newest with rows) as one canonical frame.

    Raises:
        InvalidInput: `as_of` lies in the future.
        NotEnoughRows: no month up to then has any.
    """
    months = months_with_rows(settings)
    last = as_of or max(months, default="")
    if last > this_month():
        raise InvalidInput(f"as_of is {last}, which lies in the future: give a month up to {this_month()}.")
    if not months or last < months[0]:
        found = f"the first month with rows is {months[0]}" if months else "there are none"
        raise NotEnoughRows(
            f"No rows up to {as_of or 'now'}: {found}. Import some (`cleverbetter import --help`), "
            "or check DATABASE_URL."
        )
    load = load_months(settings, list(pd.period_range(months[0], last, freq="M").strftime("%Y-%m")))
    return rows_until({month: loaded.table for month, loaded in load.months.items()}, AsOf.parse(last))


@dataclass(frozen=True)
class Load:
    """The months of one load, and what `taken.record_taken` is to say of them once they are stored."""

    months: Mapping[str, MonthLoad]
    taken: Mapping[str, MonthTaken]


def load_months(settings: Settings, months: Sequence[str], *, catch_up: bool = False) -> Load:
    """The rows of `months`; what cannot be right is put into quarantine under the table's name.

    Args:
        catch_up: load as well every earlier month whose content is not what was loaded of it, and those never
            loaded that lie between others, since labels and history features need every month in between.

    Raises:
        CleverBetterError: as `resolve_source`, `open_look` and `load_rows`.
    """
    layout, now = resolve_source(settings), present()
    taken = read_taken(settings)
    with open_look(settings, layout) as look:
        if catch_up:
            seen = seen_now(look, settings.recent_days, taken)
            months = sorted({*months, *_behind(settings, seen, taken, max(months))})
        else:
            seen = seen_now(look, settings.recent_days, taken, months)
        nothing, snapshot = MonthTaken.at(look.moment, EMPTY, Ahead()), look.export()
        loads = {month: _load(settings, layout, AsOf.parse(month), now, snapshot) for month in months}
    return Load(loads, {month: replace(seen.get(month, nothing), due=load.due) for month, load in loads.items()})


def _behind(
    settings: Settings, seen: Mapping[str, MonthTaken], taken: Mapping[str, MonthTaken], as_of: str
) -> set[str]:
    """Months up to `as_of` that have to be loaded before anything can be trained at it."""
    first, _ = reachable(settings, as_of)
    changed = differing(settings, seen, taken)
    filled = [month for month, now in seen.items() if now.digest.rows and month >= first]
    between = pd.period_range(min([*filled, as_of]), as_of, freq="M").strftime("%Y-%m")
    behind = {*changed, *(set(between) - taken.keys())}
    return {month for month in behind if first <= month <= as_of}


def _load(settings: Settings, layout: SourceLayout, month: AsOf, now: pd.Timestamp, snapshot: str) -> MonthLoad:
    loaded = load_rows(settings, layout, month.start, month.end, now, snapshot=snapshot)
    _keep_account(settings, str(layout.results), loaded)
    return MonthLoad(loaded.rows, int(loaded.violations["position"].nunique()), first_due(loaded.violations))


def _keep_account(settings: Settings, source: str, loaded: LoadedRows) -> None:
    with open_quarantine(settings) as connection:
        waiting = pending_ids(connection)
        if waiting:
            good = pc.filter(loaded.rows[ID], pc.is_in(loaded.rows[ID], pa.array(waiting, pa.string())))
            mark_repaired(connection, source, good.to_pylist())
        if len(loaded.violations):
            names = {"id": "row_id", "column": "column_name"}
            add(connection, loaded.violations.rename(columns=names).assign(source=source, line=None, raw=None))
