"""Stages a file's rows in a temporary table and merges them into their table, all in one transaction.

Nothing in the table is overwritten: a row whose id is in the table with other content is refused. Only if rows have the
instant they were computed at (market features), a newer row replaces an older one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from cleverbetter_dagster.errors import ImportFileError, SchemaError
from cleverbetter_dagster.store.source.layout import Column
from cleverbetter_dagster.store.source.tables import Relation

LINE = "line_in_file"
REFUSED_AT_ONCE = 5_000

IN_TABLE = "id is in the table already with other content: nothing is overwritten; correct the table or the file"
IN_FILE = "id occurs more than once in the file with different content: keep the right one"

_ADVISORY_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('cleverbetter:import ' || %s, 0))"

_STAGED = "CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {columns}, 0::bigint AS {line} FROM {table} WITH NO DATA"

_SUPERSEDED = """
DELETE FROM staged s USING (SELECT {key} AS id, max({newest}) AS at FROM staged GROUP BY 1 HAVING count(*) > 1) x
WHERE s.{key} = x.id AND COALESCE(s.{newest}, '-infinity') < COALESCE(x.at, '-infinity')"""

_REPEATED = """
CREATE TEMP TABLE repeated ON COMMIT DROP AS
SELECT s.{key} AS id, min(s.{line}) AS first_line, count(DISTINCT ROW({content_s})) > 1 AS differ
FROM staged s JOIN (SELECT {key} FROM staged GROUP BY 1 HAVING count(*) > 1) x ON x.{key} = s.{key} GROUP BY 1"""

_KNOWN = """
CREATE TEMP TABLE known ON COMMIT DROP AS
SELECT s.{line} AS line, bool_or(ROW({content_s}) IS NOT DISTINCT FROM ROW({content_t})) AS same,
    bool_and({newer}) AS newer, bool_or({older}) AS older
FROM staged s JOIN {table} t ON t.{key} = s.{key} GROUP BY 1"""

_REFUSED = """
CREATE TEMP TABLE refused ON COMMIT DROP AS
SELECT s.{line} AS line, CASE WHEN k.line IS NULL OR k.newer THEN {in_file} ELSE {in_table} END AS reason
FROM staged s LEFT JOIN known k ON k.line = s.{line} LEFT JOIN repeated d ON d.id = s.{key}
WHERE k.line IS NOT NULL AND NOT (k.same OR k.newer OR k.older)
   OR d.differ AND (k.line IS NULL OR k.newer AND NOT k.same)"""

_REPLACED = """
DELETE FROM {table} t USING staged s JOIN known k ON k.line = s.{line} AND k.newer AND NOT k.same
WHERE t.{key} = s.{key} AND NOT EXISTS (SELECT FROM refused r WHERE r.line = s.{line})"""

_INSERTED = """
INSERT INTO {table} ({columns}) SELECT {columns} FROM staged s
WHERE NOT EXISTS (SELECT FROM known k WHERE k.line = s.{line} AND (k.same OR NOT k.newer))
  AND NOT EXISTS (SELECT FROM refused r WHERE r.line = s.{line})
  AND NOT EXISTS (SELECT FROM repeated d WHERE d.id = s.{key} AND d.first_line < s.{line})
ON CONFLICT DO NOTHING"""

_SHOW_REFUSED = """
SELECT r.line, s.{key}::text AS row_id, r.reason, (to_jsonb(s) - {line_name})::text AS raw
FROM refused r JOIN staged s ON s.{line} = r.line ORDER BY r.line"""

_ACCEPTED = """
SELECT DISTINCT s.{key}::text FROM staged s
WHERE s.{key}::text = ANY(%s) AND NOT EXISTS (SELECT FROM refused r WHERE r.line = s.{line})"""


@dataclass(frozen=True)
class Target:
    """A table to import into.

    Attributes:
        columns: all its columns, by name.
        key: the column of the row's id.
        newest: the column of the instant at which a row was computed; None: rows of one id must not differ.
        one_per_key: a newer row replaces an older one; otherwise the table keeps both.
    """

    relation: Relation
    columns: dict[str, Column]
    key: str
    newest: str | None = None
    one_per_key: bool = True


@dataclass(frozen=True)
class Merged:
    """How many rows of the file were inserted, replaced an older row, or were refused."""

    inserted: int
    updated: int
    refused: int


class Staging:
    """The rows of one file for one target, in a temporary table that ends with the connection's transaction."""

    def __init__(self, connection: psycopg.Connection, target: Target, columns: Sequence[str]) -> None:
        """Create the temporary table, with the target's own types.

        Args:
            columns: the target's columns that the file has, including the key.

        Raises:
            SchemaError: the role may not write to the target, or may not create temporary tables.
        """
        self._connection, self._target = connection, target
        self._columns = [target.columns[name] for name in columns]
        _check_writable(connection, target.relation)
        with _clear_errors(target):
            connection.execute("SET LOCAL TimeZone = 'UTC'")
            connection.execute(_ADVISORY_LOCK, [str(target.relation)])
            connection.execute(self._sql(_STAGED))

    def add_good(self, rows: pa.Table, lines: np.ndarray, violations: pd.DataFrame) -> pa.Table:
        """Copy in the rows without violations. Returns them, with their lines in the column `LINE`.

        Raises:
            ImportFileError: the target's types cannot hold a value.
        """
        good = np.ones(rows.num_rows, dtype=bool)
        good[violations["position"].to_numpy(dtype=int)] = False
        rows = rows.append_column(LINE, pa.array(lines)).filter(pa.array(good))
        if rows.num_rows:
            self._copy(rows)
        return rows

    def _copy(self, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        # Instants are written without their zone, which is UTC: Arrow takes twenty times as long to write one with it.
        naive = [
            field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field for field in rows.schema
        ]
        csv.write_csv(rows.cast(pa.schema(naive)), sink, csv.WriteOptions(include_header=False))
        cursor = self._connection.cursor()
        with _clear_errors(self._target), cursor.copy("COPY staged FROM STDIN (FORMAT csv)") as copy:
            copy.write(memoryview(sink.getvalue()))

    def merge(self) -> Merged:
        """Insert new rows and refuse contradicting ones. Commits nothing.

        Raises:
            ImportFileError: a constraint of the target forbids it.
            SchemaError: the role may not write to the target.
        """
        with _clear_errors(self._target):
            self._execute("ANALYZE staged")
            if self._target.newest in {column.name for column in self._columns}:
                self._execute(_SUPERSEDED)
            self._execute(_REPEATED)
            self._execute(_KNOWN)
            self._execute("ANALYZE known")
            refused = self._execute(_REFUSED)
            updated = self._execute(_REPLACED) if self._replaces() else 0
            inserted = self._execute(_INSERTED)
        return Merged(inserted - updated, updated, refused)

    def refused(self) -> Iterator[pd.DataFrame]:
        """The refused rows in batches: `line`, `row_id`, `reason` and `raw` (JSON)."""
        with self._connection.cursor("refused") as cursor:
            cursor.execute(self._sql(_SHOW_REFUSED))
            while rows := cursor.fetchmany(REFUSED_AT_ONCE):
                yield pd.DataFrame(rows, columns=["line", "row_id", "reason", "raw"])

    def accepted(self, row_ids: Sequence[str]) -> list[str]:
        """Those of the ids that have a good row in the file."""
        return [row_id for (row_id,) in self._connection.execute(self._sql(_ACCEPTED), [list(row_ids)])]

    def _execute(self, template: str) -> int:
        return self._connection.execute(self._sql(template)).rowcount

    def _replaces(self) -> bool:
        if not self._target.newest or not self._target.one_per_key:
            return False
        query = "SELECT EXISTS (SELECT FROM known WHERE newer AND NOT same)"
        return self._connection.execute(query).fetchone() == (True,)

    def _sql(self, template: str) -> sql.Composed:
        content = [column for column in self._columns if column.name not in (self._target.key, self._target.newest)]
        newest = self._target.newest if self._target.newest in {column.name for column in self._columns} else None
        return sql.SQL(template).format(
            table=self._target.relation.identifier,
            key=sql.Identifier(self._target.key),
            newest=sql.Identifier(newest or ""),
            line=sql.Identifier(LINE),
            line_name=sql.Literal(LINE),
            columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in self._columns),
            content_s=_content("s", content),
            content_t=_content("t", content),
            newer=_later("s", "t", newest),
            older=_later("t", "s", newest),
            in_file=sql.Literal(IN_FILE),
            in_table=sql.Literal(IN_TABLE),
        )


def _content(alias: str, columns: Sequence[Column]) -> sql.Composed:
    """The columns that decide whether two rows are the same; JSON can only be compared as JSONB."""
    values = (
        sql.SQL("{}::jsonb" if column.kind == "json" else "{}").format(sql.Identifier(alias, column.name))
        for column in columns
    )
    return sql.SQL(", ").join(values)


def _later(one: str, other: str, newest: str | None) -> sql.Composable:
    if newest is None:
        return sql.SQL("false")
    return sql.SQL("COALESCE({}, '-infinity') > COALESCE({}, '-infinity')").format(
        sql.Identifier(one, newest), sql.Identifier(other, newest)
    )


def _check_writable(connection: psycopg.Connection, relation: Relation) -> None:
    table, user = relation.identifier.as_string(connection), connection.info.user
    if connection.execute("SELECT has_table_privilege(%s, 'INSERT')", [table]).fetchone() != (True,):
        raise SchemaError(
            f"The role {user!r} may not import into {relation}: it lacks INSERT. Let the table's owner run: GRANT "
            f"INSERT ON {relation} TO {user}; or import with a role that may, through DATABASE_URL."
        )


@contextmanager
def _clear_errors(target: Target) -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise SchemaError(
            f"Cannot import into {target.relation}: {_one_line(error)}. Ask its owner for the right."
        ) from None
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError) as error:
        raise ImportFileError(
            f"{target.relation} cannot hold the file's rows: {_one_line(error)}. Nothing was imported from it."
        ) from None


def _one_line(error: psycopg.Error) -> str:
    """The server's message, with column and value, on one line."""
    parts = (error.diag.message_primary, error.diag.message_detail, error.diag.context)
    return "; ".join(part.replace("\n", " ") for part in parts if part) or str(error).strip()
