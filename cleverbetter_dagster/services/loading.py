"""The rows of a month, from the database to validated Arrow; rows that cannot be right go to quarantine."""

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.schema import END_DATE, ID
from cleverbetter_dagster.errors import NotEnoughRows
from cleverbetter_dagster.services.datasets import rows_until
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.layout import resolve_source
from cleverbetter_dagster.store.loader import LoadedRows, load_rows, month_counts
from cleverbetter_dagster.store.quarantine import add, mark_repaired, open_quarantine, pending_ids


@dataclass(frozen=True)
class MonthLoad:
    """The rows whose window ended in a month: those that can be right, and how many others went to quarantine."""

    table: pa.Table
    quarantined: int

    @property
    def window_ends(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """First and last end of a window; None in a month without rows."""
        if not self.table.num_rows:
            return None
        found = pc.min_max(self.table[END_DATE]).as_py()
        return pd.Timestamp(found["min"]), pd.Timestamp(found["max"])


def months_with_rows(settings: Settings) -> list[str]:
    """The months, `YYYY-MM` in order of time, in which some window ended; those with a partition only."""
    current = AsOf.of(pd.Timestamp.now(tz="UTC")).key
    counts = month_counts(settings, resolve_source(settings))
    return [month for month, rows in counts.items() if rows and settings.first_month <= month <= current]


def load_history(settings: Settings, as_of: str | None = None) -> pd.DataFrame:
    """The rows of every month up to `as_of` (by default the newest with rows) as one canonical frame.

    Raises:
        NotEnoughRows: no month up to then has any.
    """
    months = months_with_rows(settings)
    last = as_of or max(months, default="")
    if not months or last < months[0]:
        found = f"the first month with rows is {months[0]}" if months else "there are none"
        raise NotEnoughRows(
            f"No rows up to {as_of or 'now'}: {found}. Import some (`cleverbetter import --help`), "
            "or check DATABASE_URL."
        )
    loader = MonthLoader(settings)
    wanted = pd.period_range(months[0], last, freq="M").strftime("%Y-%m")
    return rows_until({month: loader.load(AsOf.parse(month)).table for month in wanted}, AsOf.parse(last))


class MonthLoader:
    """Loads months from the tables of one deployment, whose layout is looked up once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = resolve_source(settings)
        self._now = pd.Timestamp.now(tz="UTC")

    def load(self, month: AsOf) -> MonthLoad:
        """The rows of `month`; what cannot be right is put into quarantine under the table's name."""
        loaded = load_rows(self._settings, self._layout, month.start, month.end, self._now)
        self._keep_account(loaded)
        return MonthLoad(loaded.rows, int(loaded.violations["position"].nunique()))

    def _keep_account(self, loaded: LoadedRows) -> None:
        source, violations = str(self._layout.results), loaded.violations
        with open_quarantine(self._settings) as connection:
            waiting = pending_ids(connection)
            if waiting:
                good = pc.filter(loaded.rows[ID], pc.is_in(loaded.rows[ID], pa.array(waiting, pa.string())))
                mark_repaired(connection, source, good.to_pylist())
            if len(violations):
                names = {"id": "row_id", "column": "column_name"}
                add(connection, violations.rename(columns=names).assign(source=source, line=None, raw=None))
