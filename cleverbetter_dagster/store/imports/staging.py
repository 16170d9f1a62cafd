"""Stages a file's rows in a temporary table and merges them into their table, all in one transaction.

Nothing in the table is overwritten: a row whose id is in the table with other content is refused. Only if rows have the
instant they were computed at (market features), a newer row replaces an older one.

PostgreSQL judges what its types and constraints allow. Where it refuses rows, they are tried again in halves, until
each row it refuses stands alone with its reason; the others go in.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from cleverbetter_dagster.dataset.quality.arrow_values import texts
from cleverbetter_dagster.dataset.quality.conversion import gathered
from cleverbetter_dagster.errors import ImportFileError, SchemaError
from cleverbetter_dagster.store.imports.refusals import REFUSALS, of_row, of_value
from cleverbetter_dagster.store.imports.target import Target
from cleverbetter_dagster.store.source.instants import plausible_or_null
from cleverbetter_dagster.store.source.layout import JSON_KINDS, Column
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
SELECT s.{line} AS line, {key_name}::text AS column_name, s.{key}::text AS value,
    CASE WHEN k.line IS NULL OR k.newer THEN {in_file} ELSE {in_table} END AS reason
FROM staged s LEFT JOIN known k ON k.line = s.{line} LEFT JOIN repeated d ON d.id = s.{key}
WHERE k.line IS NOT NULL AND NOT (k.same OR k.newer OR k.older)
   OR d.differ AND (k.line IS NULL OR k.newer AND NOT k.same)"""

# In JSON a null is the same as no member. The others have no equality of their own.
_COMPARED_AS: dict[str, LiteralString] = dict.fromkeys(JSON_KINDS, "jsonb_strip_nulls({}::jsonb)") | dict.fromkeys(
    ("xml", "point", "line", "lseg", "box", "path", "polygon", "circle"), "{}::text"
)

_REPLACED = """
DELETE FROM {table} t USING staged s JOIN known k ON k.line = s.{line} AND k.newer AND NOT k.same
WHERE t.{key} = s.{key} AND s.{line} BETWEEN {first} AND {last}
  AND NOT EXISTS (SELECT FROM refused r WHERE r.line = s.{line})"""

_INSERTED = """
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM staged s
WHERE s.{line} BETWEEN {first} AND {last}
  AND NOT EXISTS (SELECT FROM known k WHERE k.line = s.{line} AND (k.same OR NOT k.newer))
  AND NOT EXISTS (SELECT FROM refused r WHERE r.line = s.{line})
  AND NOT EXISTS (SELECT FROM repeated d WHERE d.id = s.{key} AND d.first_line < s.{line})"""

_INDEXES = """
CREATE INDEX ON staged ({line}); CREATE INDEX ON staged USING hash ({key}); CREATE INDEX ON known (line);
CREATE INDEX ON repeated USING hash (id); CREATE INDEX ON refused (line); ANALYZE staged, known, repeated, refused"""

# Equal rows of one id are refused together.
_REFUSE = """
INSERT INTO refused
SELECT s.{line}, {column}, COALESCE({value}, to_jsonb(s) ->> {column}::text), {reason}
FROM staged s JOIN staged x ON x.{key} = s.{key}
WHERE x.{line} = {refused_line} AND NOT EXISTS (SELECT FROM refused r WHERE r.line = s.{line})"""

_SHOW_REFUSED = """
SELECT r.line, s.{key}::text AS row_id, r.column_name, r.value, r.reason, (to_jsonb(s) - {line_name})::text AS raw
FROM refused r JOIN staged s ON s.{line} = r.line ORDER BY r.line"""

_ACCEPTED = """
SELECT DISTINCT s.{key}::text FROM staged s
WHERE s.{key}::text = ANY({ids}) AND NOT EXISTS (SELECT FROM refused r WHERE r.line = s.{line})"""


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
        self._indexed = False
        _check_writable(connection, target.relation)
        with _clear_errors(target):
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # each row must be refused where it is inserted
            connection.execute(_ADVISORY_LOCK, [str(target.relation)])
            connection.execute(self._sql(_STAGED))

    def add_good(self, rows: pa.Table, lines: np.ndarray, violations: pd.DataFrame) -> tuple[pa.Table, pd.DataFrame]:
        """Copy in the rows without violations that the target's types can hold.

        Returns:
            The rows copied, with their lines in the column `LINE`; and the violations with those of the other rows.
        """
        good = np.ones(rows.num_rows, dtype=bool)
        good[violations["position"].to_numpy(dtype=int)] = False
        positions = np.flatnonzero(good)
        rows = rows.append_column(LINE, pa.array(lines)).filter(pa.array(good))
        unfit = self._copy_fitting(rows)
        if not unfit:
            return rows, violations
        places = list(unfit)
        refused = pd.DataFrame([of_value(rows, *item) for item in unfit.items()])
        ids = texts(rows[self._target.key]).take(pa.array(places)).to_pylist()
        copied = np.ones(rows.num_rows, dtype=bool)
        copied[places] = False
        return rows.filter(pa.array(copied)), gathered([violations, refused.assign(position=positions[places], id=ids)])

    def _copy_fitting(self, rows: pa.Table) -> dict[int, psycopg.Error]:
        """Copy in the rows that the types can hold. Returns the places of the others, with the reason."""
        unfit: dict[int, psycopg.Error] = {}
        start, count = 0, rows.num_rows
        while start < rows.num_rows:
            try:
                with self._connection.transaction():
                    self._copy(rows.slice(start, count))
            except REFUSALS as error:
                if count == 1:
                    unfit[start] = error
                    start += 1
                count = max(count // 2, 1)
            else:
                start, count = start + count, min(2 * count, rows.num_rows)
        return unfit

    def _copy(self, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        # Instants are written without their zone, which is UTC: Arrow takes twenty times as long to write one with it.
        naive = [
            field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field for field in rows.schema
        ]
        csv.write_csv(rows.cast(pa.schema(naive)), sink, csv.WriteOptions(include_header=False))
        cursor = self._connection.cursor()
        with cursor.copy("COPY staged FROM STDIN (FORMAT csv)") as copy:
            copy.write(memoryview(sink.getvalue()))

    def merge(self) -> Merged:
        """Insert new rows and refuse those that contradict others or that the target forbids. Commits nothing.

        Raises:
            SchemaError: the role may not write to the target.
        """
        with _clear_errors(self._target):
            self._execute("ANALYZE staged")
            if self._target.newest in {column.name for column in self._columns}:
                self._execute(_SUPERSEDED)
            self._execute(_REPEATED)
            self._execute(_KNOWN)
            self._execute("ANALYZE known")
            self._execute(_REFUSED)
            lines = self._sql("SELECT min({line}), max({line}) FROM staged")
            first, last = self._connection.execute(lines).fetchone() or (0, 0)
            merged = self._insert(first, last, self._replaces())
            (refused,) = self._connection.execute("SELECT count(*) FROM refused").fetchone() or (0,)
        return Merged(merged.inserted, merged.updated, refused)

    def _insert(self, first: int, last: int, replaces: bool) -> Merged:
        """Insert the rows of these lines; in halves, if the target refuses one."""
        try:
            with self._connection.transaction():
                updated = self._execute(_REPLACED, first=first, last=last) if replaces else 0
                return Merged(self._execute(_INSERTED, first=first, last=last) - updated, updated, 0)
        except REFUSALS as error:
            if first == last:
                refusal = of_row(self._connection, error)
                self._execute(_REFUSE, **refusal._asdict(), refused_line=first)
                return Merged(0, 0, 1)
            if not self._indexed:
                self._execute(_INDEXES)
                self._indexed = True
        middle = (first + last) // 2
        one, other = self._insert(first, middle, replaces), self._insert(middle + 1, last, replaces)
        return Merged(one.inserted + other.inserted, one.updated + other.updated, one.refused + other.refused)

    def refused(self) -> Iterator[pd.DataFrame]:
        """The refused rows in batches: `line`, `row_id`, `column_name`, `value`, `reason` and `raw` (JSON)."""
        with self._connection.cursor("refused") as cursor:
            cursor.execute(self._sql(_SHOW_REFUSED))
            while rows := cursor.fetchmany(REFUSED_AT_ONCE):
                yield pd.DataFrame(rows, columns=["line", "row_id", "column_name", "value", "reason", "raw"])

    def accepted(self, row_ids: Sequence[str]) -> list[str]:
        """Those of the ids that have a good row in the file."""
        return [row_id for (row_id,) in self._connection.execute(self._sql(_ACCEPTED, ids=list(row_ids)))]

    def _execute(self, template: str, **values: object) -> int:
        return self._connection.execute(self._sql(template, **values)).rowcount

    def _replaces(self) -> bool:
        query = "SELECT EXISTS (SELECT FROM known WHERE newer AND NOT same)"
        may = self._target.newest is not None and self._target.one_per_key
        return may and self._connection.execute(query).fetchone() == (True,)

    def _sql(self, template: str, **values: object) -> sql.Composed:
        """A statement. Values are literals in it: beside parameters, a name with a per cent sign would be one more."""
        content = [column for column in self._columns if column.name not in (self._target.key, self._target.newest)]
        newest = self._target.newest if self._target.newest in {column.name for column in self._columns} else None
        return sql.SQL(template).format(
            table=self._target.relation.identifier,
            key=sql.Identifier(self._target.key),
            key_name=sql.Literal(self._target.key),
            newest=sql.Identifier(newest or ""),
            line=sql.Identifier(LINE),
            line_name=sql.Literal(LINE),
            columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in self._columns),
            content_s=_content("s", content),
            content_t=_content("t", content),
            newer=_later("s", "t", self._target.columns[newest] if newest else None),
            older=_later("t", "s", self._target.columns[newest] if newest else None),
            in_file=sql.Literal(IN_FILE),
            in_table=sql.Literal(IN_TABLE),
            **{name: sql.Literal(value) for name, value in values.items()},
        )


def _content(alias: str, columns: Sequence[Column]) -> sql.Composed:
    """The columns that decide whether two rows are the same, in types that can be compared."""
    forms = [(sql.SQL(_COMPARED_AS.get(one.kind, "{}")), sql.Identifier(alias, one.name)) for one in columns]
    return sql.SQL(", ").join(form.format(name) for form, name in forms)


def _later(one: str, other: str, newest: Column | None) -> sql.Composable:
    """The condition that one row is newer; a row whose instant is missing or impossible is older than all others."""
    if newest is None:
        return sql.SQL("false")
    return sql.SQL("COALESCE({}, '-infinity') > COALESCE({}, '-infinity')").format(
        *(plausible_or_null(sql.Identifier(alias, newest.name), newest) for alias in (one, other))
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
