"""What PostgreSQL says of a row that it refuses, as a column, its value and a reason."""

from typing import NamedTuple

import psycopg
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.arrow_values import texts
from cleverbetter_dagster.dataset.quality.conversion import LONGEST_VALUE

REFUSALS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.RaiseException,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
"""Errors about a row that a type, a constraint, a trigger or one of PostgreSQL's own limits forbids."""

_CONSTRAINT = """
SELECT CASE contype WHEN 'c' THEN pg_get_constraintdef(oid) ELSE '' END,
    ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey))
FROM pg_constraint WHERE conrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND conname = %s"""


class Refusal(NamedTuple):
    """The column and its value, if the error is about one, and the reason. Reasons hold no values: they are counted."""

    column: str | None
    value: str | None
    reason: str


def of_value(rows: pa.Table, place: int, error: psycopg.Error) -> Refusal:
    """Why the types of the table cannot hold the row at `place` of those copied."""
    # The server names the column only in this sentence.
    names = [name for name in rows.column_names if f", column {name}:" in (error.diag.context or "")]
    column = max(names, key=len, default=None)
    value = texts(rows[column].slice(place, 1))[0].as_py() if column else None
    parts = (error.diag.message_primary or str(error), error.diag.message_detail)
    reason = "; ".join(part.rstrip(".") for part in parts if part)
    for quoted in (f': "{value}"', f' "{value}"'):
        reason = reason.replace(quoted, "")
    return Refusal(column, value and value[:LONGEST_VALUE], f"{column or 'the row'} does not fit its table: {reason}")


def of_row(connection: psycopg.Connection, error: psycopg.Error) -> Refusal:
    """Why a constraint or a trigger of the table refuses a row. No value: it is the row's own in the column."""
    diag = error.diag
    query = connection.execute(_CONSTRAINT, [diag.schema_name, diag.table_name, diag.constraint_name])
    check, columns = query.fetchone() or ("", [])
    column = diag.column_name or (columns[0] if len(columns) == 1 else None)
    # The detail of a check is the whole row, which is stored anyway; that of a key is the key.
    detail = diag.message_detail or ""
    value = None if detail.startswith("Failing row") else detail[:LONGEST_VALUE] or None
    reason = f"the table refuses the row: {diag.message_primary}"
    return Refusal(column, value, f"{reason}: {check}" if check else reason)
