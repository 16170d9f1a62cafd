"""What the two tables hold at one moment, seen so that nothing committed later can be missed. Reads only.

A look is one REPEATABLE READ transaction: its snapshot decides what exists, for the digests, for the marks and for
the rows that are loaded in it. A transaction that the snapshot does not show either runs or has yet to begin, so
what it writes carries a transaction id of at least the snapshot's `xmin`, whatever `created_at` says, in whichever
order transactions commit, and under savepoints too. Rows at or past that mark may also have been visible already
(somebody older was still running): how many, and the hash of which, is kept with the mark as its `Ahead`.

Two looks agree on a month exactly when its digests are equal; marks only make it cheap to say "nothing came". And
they agree where the versions of its rows are the same, which spares reading what the rows hold: of all rows that one
transaction wrote those that are visible only become fewer once it has committed, so as many of each as before are the
same ones, whatever was updated, deleted, vacuumed or rewritten around them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import DatabaseError, DatabaseUnavailable
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source import change_query
from cleverbetter_dagster.store.source.layout import SourceLayout
from cleverbetter_dagster.store.source.tables import Relation

FARTHEST_XIDS = 2**31 - 10_000_000
"""Transaction ids farther apart than this cannot be ordered by their 32 bits with some room to spare."""

NO_VERSIONS = "0"
"""What `Look.versions` would say of a month without rows."""

_MOMENT = """
SELECT (SELECT system_identifier FROM pg_control_system()), (SELECT timeline_id FROM pg_control_checkpoint()),
    current_setting('server_version_num')::int / 10000,
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint
FROM pg_current_snapshot() s"""

# Swapped names, new columns with a default, and computed ones change what is read without a new version of any row.
_TABLES = """
SELECT array_agg(DISTINCT attrelid::oid ORDER BY attrelid::oid),
    md5(string_agg(concat_ws(' ', attrelid, attnum, attname, atttypid, adbin::text), ', ' ORDER BY attrelid, attnum))
FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE attrelid = ANY(%(tables)s::regclass[]) AND attnum > 0"""

# Row security can show other rows without a new version of any.
_VERSIONED = """
WITH RECURSIVE parts(oid) AS (
    SELECT unnest(%(tables)s::regclass[])::oid
    UNION SELECT inhrelid FROM pg_inherits JOIN parts ON inhparent = parts.oid)
SELECT bool_and(relkind IN ('r', 'p') AND NOT row_security_active(oid)) FROM pg_class JOIN parts USING (oid)"""

_NO_XMIN = (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedColumn)

_COMPRESSED = "only supports tableoid system column"
"""What TimescaleDB says of `xmin` where a chunk is compressed, as an internal error (XX000) like any other."""


@dataclass(frozen=True)
class Digest:
    """Everything that is loaded of a month, in three numbers. Equal digests, equal rows."""

    rows: int
    newest: datetime | None
    content: str


@dataclass(frozen=True)
class Ahead:
    """Rows at or past a mark: how many, and a hash of which of them written by which transaction."""

    rows: int = 0
    written: str = "0"


@dataclass(frozen=True)
class Moment:
    """When a look took place, in transaction ids (64 bits), and in which tables of which server's life.

    A restored or failed-over server, a table made anew, and other columns have another identity: ids of one mean
    nothing in another.
    """

    identity: str
    xmin: int
    xmax: int

    def reaches(self, mark: int) -> bool:
        """Whether rows written since `mark` can be told from all others by the 32 bits that are kept of their ids."""
        return 0 <= self.xmax - mark < FARTHEST_XIDS


class Look:
    """One consistent look at the tables. Made by `open_look`; valid while that block lasts."""

    def __init__(self, connection: psycopg.Connection, layout: SourceLayout) -> None:
        self._connection = connection
        self._layout = layout
        self.moment = self._moment()

    def digests(self, months: Sequence[str] | None = None) -> dict[str, Digest]:
        """The digest of every month that has rows, or of those of `months` that do."""
        query = change_query.digests(self._layout, some_months=months is not None)
        return {month: Digest(*found) for month, *found in self._rows(query, _spans(months or ()))}

    def versions(self, months: Sequence[str] | None = None) -> dict[str, str] | None:
        """A hash of the versions of the rows and features of every month, or of `months`, that has rows.

        Equal hashes in tables of one identity mean equal content; others say nothing about it.

        Returns:
            None where `xmin` cannot be read, as `recent`.
        """
        query = change_query.versions(self._layout, some_months=months is not None)
        found = self._of_versions(query, _spans(months or ()))
        return None if found is None else dict(found)

    def recent(self, marks: Mapping[str, int], mark: int | None, days: int) -> dict[str, Ahead] | None:
        """Rows of each month that arrived within `days` and were written at or past the month's mark.

        Args:
            marks: transaction id (64 bits) by month; `mark` is that of every other month, None to count all rows.

        Returns:
            Months without such rows left out. None where `xmin` cannot be read, or does not tell everything: a view,
            a foreign table, row security, or a compressed chunk of a hypertable.
        """
        found = self._written_since(marks, mark, {"days": days}, some_months=False)
        return None if found is None else {month: Ahead(*counted) for month, *counted in found}

    def written(self, marks: Mapping[str, int]) -> dict[str, int]:
        """Rows of each month of `marks` that were written at or past its mark, whenever they arrived.

        Returns:
            Months without such rows left out, and all of them where `xmin` cannot be read, as `recent`.
        """
        found = self._written_since(marks, None, _spans(marks), some_months=True) if marks else None
        return {month: rows for month, rows, _ in found or ()}

    def recent_months(self, days: int) -> list[str]:
        """The months of the rows that arrived within `days`."""
        return [month for (month,) in self._rows(change_query.recent_months(self._layout), {"days": days})]

    def export(self) -> str:
        """Name of this look's snapshot, by which the loader can read exactly the rows that were looked at."""
        return str(self._rows(sql.SQL("SELECT pg_export_snapshot()"))[0][0])

    def _moment(self) -> Moment:
        *server, xmin, xmax = self._rows(sql.SQL(_MOMENT))[0]
        tables, columns = self._rows(sql.SQL(_TABLES), {"tables": self._tables()})[0]
        return Moment("/".join(map(str, [*server, *tables, columns, self._layout.decision_time])), xmin, xmax)

    def _written_since(
        self, marks: Mapping[str, int], mark: int | None, bounds: Mapping[str, Any], *, some_months: bool
    ) -> list[tuple[Any, ...]] | None:
        values = {
            "months": list(marks),
            "marks": [_xid(found) for found in marks.values()],
            "mark": None if mark is None else _xid(mark),
            **bounds,
        }
        return self._of_versions(change_query.recent(self._layout, some_months=some_months), values)

    def _of_versions(self, query: sql.Composed, values: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
        """The answer to a query that reads `xmin`; None where that cannot be read."""
        if not self._rows(sql.SQL(_VERSIONED), {"tables": self._tables()})[0][0]:
            return None
        try:
            with self._connection.transaction():
                return self._rows(query, values)
        except _NO_XMIN:
            return None
        except psycopg.errors.InternalError_ as error:
            if _COMPRESSED not in str(error):
                raise
            return None

    def _tables(self) -> list[str]:
        features = self._layout.features
        relations: list[Relation] = [self._layout.results, *([features.relation] if features else [])]
        return [relation.identifier.as_string(self._connection) for relation in relations]

    def _rows(self, query: sql.SQL | sql.Composed, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        text = query.as_string(self._connection)
        if values is not None:  # psycopg takes a per cent sign in a name of a table or column for a placeholder
            text = re.sub(rf"%(?!\((?:{'|'.join(values)})\)s)", "%%", text)
        return self._connection.execute(text.encode(), values).fetchall()


@contextmanager
def open_look(settings: Settings, layout: SourceLayout) -> Iterator[Look]:
    """A look at the tables as they are now. Asks for no right but reading, and writes nothing.

    Raises:
        CleverBetterError: as `psycopg_connect`; `DatabaseUnavailable` also where the server breaks off.
    """
    with closing(psycopg_connect(settings, "rows")) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            connection.execute("SET LOCAL TimeZone = 'UTC'")
            yield Look(connection, layout)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"The database broke off while it was looked at: {str(error).strip()}") from None
        except psycopg.Error as error:
            raise DatabaseError(f"Cannot tell what is in {layout.results}: {str(error).strip()}") from error


def _spans(months: Iterable[str]) -> dict[str, list[datetime]]:
    """First and last instants of the months, those that follow each other taken together."""
    starts: list[datetime] = []
    ends: list[datetime] = []
    for month in map(AsOf.parse, sorted(months)):
        start, end = month.start.to_pydatetime(), month.end.to_pydatetime()
        if ends and ends[-1] == start:
            ends[-1] = end
        else:
            starts.append(start)
            ends.append(end)
    return {"starts": starts, "ends": ends}


def _xid(mark: int) -> str:
    """The 32 bits of a transaction id; 0 to 2 are never given out, and 3 follows them."""
    return str(max(mark % 2**32, 3))
