"""The rows of a month, from the database to validated Arrow; rows that cannot be right go to quarantine."""

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.schema import END_DATE, ID
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.layout import resolve_source
from cleverbetter_dagster.store.loader import LoadedRows, load_rows
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
