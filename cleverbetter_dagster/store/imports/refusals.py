"""What PostgreSQL says of a row that it refuses, as a column, its value and a reason."""

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

Refusal = tuple[str | None, str | None, str]
"""The column and its value, if the error is about one, and the reason. Reasons hold no values: they are counted."""


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
    return column, value and value[:LONGEST_VALUE], f"{column or 'the row'} does not fit its table: {reason}"


def of_row(error: psycopg.Error) -> Refusal:
    """Why a constraint or a trigger of the table refuses a row."""
    detail = error.diag.message_detail or ""
    # The detail of a check is the whole row, which is stored anyway; that of a key is the key.
    value = None if detail.startswith("Failing row") else detail[:LONGEST_VALUE] or None
    return error.diag.column_name, value, f"the table refuses the row: {error.diag.message_primary}"
