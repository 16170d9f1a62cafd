"""Reads what the two tables hold at one moment, so that no row committed later can be missed. Writes nothing.

A `TableSnapshot` is one REPEATABLE READ transaction: digests, watermarks and the rows that are loaded all come from
its one snapshot of the database. A transaction that this snapshot does not see is still running or has not begun. Its
rows therefore carry a transaction id of at least the snapshot's `xmin`, whatever `created_at` says, in any order of
commits, and under savepoints too. Some rows at or above that watermark can be visible already, because an older
transaction was still running: `InFlightRows` counts them and hashes which ones they are.

Two snapshots hold the same rows of a month exactly when the month's digests are equal. Watermarks only make it cheap
to see that nothing new arrived. Equal row versions also mean equal content, without reading it: a committed
transaction never gains visible rows, so an equal count per transaction means the same rows.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from psycopg import sql

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.giving_way import ReadSession, read_session
from cleverbetter_dagster.store.source import change_query, instants
from cleverbetter_dagster.store.source.layout import SourceLayout
from cleverbetter_dagster.store.source.table_state import (
    NOT_COMPRESSED,
    Chunks,
    Comparison,
    TableState,
    cannot_read_xmin,
    compare_state,
    compressed_chunks,
)

MAX_XID_DISTANCE = 2**31 - 10_000_000
"""Transaction ids farther apart than this cannot be ordered safely by the 32 bits that a row keeps of them."""

NO_VERSIONS = "0"
"""The hash of row versions of a month without rows."""

_SNAPSHOT_ID = """
SELECT (SELECT system_identifier FROM pg_control_system()), (SELECT timeline_id FROM pg_control_checkpoint()),
    current_setting('server_version_num')::int / 10000,
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint
FROM pg_current_snapshot() s"""

# Swapped names, new columns with a default and computed columns change what is read without a new version of any row.
_TABLES = """
SELECT array_agg(DISTINCT attrelid::oid ORDER BY attrelid::oid)::text,
    md5(string_agg(concat_ws(' ', attrelid, attnum, attname, atttypid, adbin::text), ', ' ORDER BY attrelid, attnum))
FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE attrelid = ANY({tables}::regclass[]) AND attnum > 0"""

# Row security can show other rows without a new version of any.
_VERSIONED = """
WITH RECURSIVE parts(oid) AS (
    SELECT unnest({tables}::regclass[])::oid
    UNION SELECT inhrelid FROM pg_inherits JOIN parts ON inhparent = parts.oid)
SELECT bool_and(relkind IN ('r', 'p') AND NOT row_security_active(oid)) FROM pg_class JOIN parts USING (oid)"""


@dataclass(frozen=True)
class Digest:
    """The number of rows of a month and a hash of all that is loaded of them. Equal digests mean equal rows."""

    rows: int
    content: str


@dataclass(frozen=True)
class InFlightRows:
    """Rows at or above a watermark: how many, and a hash of their versions."""

    rows: int = 0
    versions: str = NO_VERSIONS


@dataclass(frozen=True)
class SnapshotId:
    """The transaction ids (64 bits) of a snapshot, and the identity of the server and tables they belong to.

    A restored or failed-over server, a table created anew, and other columns have another identity. Transaction ids
    of one identity mean nothing in another.
    """

    identity: str
    xmin: int
    xmax: int

    def can_compare(self, xmin_watermark: int) -> bool:
        """True if 32 bits of a row's transaction id are enough to tell whether it was written since the watermark."""
        return 0 <= self.xmax - xmin_watermark < MAX_XID_DISTANCE


class TableSnapshot:
    """A consistent view of the two tables. `open_snapshot` makes it; it is valid inside that block."""

    def __init__(self, session: ReadSession, layout: SourceLayout) -> None:
        self.session = session
        self._layout = layout
        self.id = self._read_id()
        session.lock([relation.identifier for relation in layout.relations])

    def digests(self, months: Collection[str] | None = None) -> dict[str, Digest]:
        """The digest of each month that has rows: of all months, or of those in `months`."""
        return {month: Digest(*digest) for month, *digest in self._rows(change_query.digests(self._layout, months))}

    def versions(self, months: Collection[str] | None = None) -> dict[str, str] | None:
        """A hash of the row versions of each month that has rows: of all months, or of those in `months`.

        In tables of one identity equal hashes mean equal content. Different hashes say nothing about content.

        Returns:
            None where `xmin` cannot be read, as for `recent`.
        """
        rows = self._rows_by_xmin(change_query.versions(self._layout, months))
        return None if rows is None else dict(rows)

    def recent(
        self, watermarks: Mapping[str, int], default_watermark: int | None, days: int
    ) -> dict[str, InFlightRows] | None:
        """Rows of each month that arrived in the last `days` and were written at or above the month's watermark.

        Args:
            watermarks, default_watermark: as `change_query.recent`.

        Returns:
            Only months that have such rows, and only rows that are not compressed. None where `xmin` cannot be read
            or does not show every change: for a view, a foreign table, row security, and compressed chunks that the
            role may not read.
        """
        query = change_query.recent(self._layout, watermarks, default_watermark, days)
        rows = self._rows_by_xmin(query, NOT_COMPRESSED if self.chunks else "")
        return None if rows is None else {month: InFlightRows(*counted) for month, *counted in rows}

    def written_since(self, watermarks: Mapping[str, int]) -> dict[str, int]:
        """Number of rows of each month in `watermarks` written at or above its watermark, whenever they arrived.

        Returns:
            Only months that have such rows; empty where `xmin` cannot be read, as for `recent`.
        """
        if not watermarks:
            return {}
        rows = self._rows_by_xmin(change_query.recent(self._layout, watermarks, None, None))
        return {month: count for month, count, _ in rows or ()}

    def recent_months(self, days: int) -> list[str]:
        """The months of the rows that arrived in the last `days`."""
        return [month for (month,) in self._rows(change_query.recent_months(self._layout, days))]

    def rows_without_month(self) -> list[tuple[str | None, str | None, str]]:
        """Id, end of the window and reason of each row that belongs to no month: it ends in no plausible one."""
        return self._rows(instants.without_month(self._layout))

    def first_month(self) -> str | None:
        """The first month that has rows; None without any."""
        (end,) = self._rows(instants.first_window_end(self._layout))[0]
        return None if end is None else AsOf.of(pd.to_datetime(end, utc=True)).key

    def ids(self, month: str) -> list[str]:
        """The ids of the rows of a month."""
        return [row_id for (row_id,) in self._rows(instants.ids_of_month(self._layout, AsOf.parse(month)))]

    def left_out_rows(self, months: Collection[str]) -> dict[str, dict[str, int]]:
        """Number of rows of each method that is left out, by month; from the first of `months` to the last."""
        counts: dict[str, dict[str, int]] = {}
        if self._layout.left_out_methods and months:
            for month, method, rows in self._rows(instants.left_out_rows(self._layout, months)):
                counts.setdefault(month, {})[method] = rows
        return counts

    @cached_property
    def chunks(self) -> Chunks | None:
        """The compressed chunks of the two tables; None if the role may not read them."""
        return compressed_chunks(self.session, self._layout.relations)

    def compare(self, before: TableState | None) -> Comparison | None:
        """What the tables hold, and how that became of an earlier state; None as for `compare_state`."""
        comparable = before and before.identity == self.id.identity and self.id.can_compare(before.watermark)
        return compare_state(self.session, self._layout, self.id.identity, self.id.xmin, before if comparable else None)

    def _read_id(self) -> SnapshotId:
        *server, xmin, xmax = self._rows(sql.SQL(_SNAPSHOT_ID))[0]
        tables, columns = self._rows(sql.SQL(_TABLES).format(tables=self._tables()))[0]
        return SnapshotId("/".join(map(str, [*server, *tables, columns])), xmin, xmax)

    def _rows_by_xmin(self, query: sql.Composed, options: str = "") -> list[tuple[Any, ...]] | None:
        """The result of a query that reads `xmin`; None where `xmin` cannot be read."""
        if not self._rows(sql.SQL(_VERSIONED).format(tables=self._tables()))[0][0]:
            return None
        return self.session.rows_or_none(query, cannot_read_xmin, options)

    def _tables(self) -> list[str]:
        return [relation.identifier.as_string() for relation in self._layout.relations]

    def _rows(self, query: sql.SQL | sql.Composed) -> list[tuple[Any, ...]]:
        return self.session.rows(query)


@contextmanager
def open_snapshot(settings: Settings, layout: SourceLayout) -> Iterator[TableSnapshot]:
    """A snapshot of the tables as they are now. Needs only the right to read, and writes nothing.

    Raises:
        CleverBetterError: as `read_session`.
    """
    with read_session(settings) as session:
        yield TableSnapshot(session, layout)
