"""The table that rows are imported into, and what its columns demand."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psycopg

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.source.layout import Column
from cleverbetter_dagster.store.source.tables import Relation


@dataclass(frozen=True)
class TargetColumn(Column):
    """A column of the table.

    Attributes:
        required: a row must have a value: NOT NULL, without a default.
        generated: computed by the database, so that no row may bring a value.
    """

    required: bool = False
    generated: bool = False


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
    columns: dict[str, TargetColumn]
    key: str
    newest: str | None = None
    one_per_key: bool = True

    @property
    def writable(self) -> set[str]:
        """Names of the columns that a row may bring a value for."""
        return {column.name for column in self.columns.values() if not column.generated}

    def check_filled(self, path: Path, columns: Collection[str]) -> None:
        """Check that a file which fills `columns` fills every one that the table requires.

        Raises:
            ImportFileError: it does not.
        """
        missing = [column.name for column in self.columns.values() if column.required and column.name not in columns]
        if missing:
            raise ImportFileError(
                f"{path} has no column {', '.join(map(repr, missing))}, which every row of {self.relation} needs. Add "
                "it to the file, or let the table's owner give it a default."
            )


def target_columns(connection: psycopg.Connection, relation: Relation) -> dict[str, TargetColumn]:
    """Name -> column of a relation, in its order. A domain counts as its base type."""
    rows = connection.execute(
        """
        SELECT a.attname, COALESCE(b.typname, t.typname),
            a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL, a.attgenerated <> ''
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
        WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
        """,
        [relation.identifier.as_string(connection)],
    ).fetchall()
    return {row[0]: TargetColumn(*row) for row in rows}
