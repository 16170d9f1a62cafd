"""Which errors of PostgreSQL may pass by themselves, by SQLSTATE (PostgreSQL's documentation, appendix A).

Only these are tried again. All others come again with the same rows and statements: a limit of the server (class 54),
not enough memory (53200), a full disk (53100), a cancelled statement (57014), missing rights, an internal error.
"""

import psycopg
import psycopg2  # type: ignore[import-untyped]
import sqlalchemy.exc

from cleverbetter_dagster.errors import DatabaseError, DatabaseUnavailable

TRANSIENT_CLASSES = ("08",)
"""Connection exceptions."""

TRANSIENT = {
    "25P03": "idle_in_transaction_session_timeout",
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "53300": "too_many_connections",
    "55P03": "lock_not_available",
    "57P01": "admin_shutdown",
    "57P02": "crash_shutdown",
    "57P03": "cannot_connect_now",
    "57P05": "idle_session_timeout",
}

REMEDIES = {
    "53100": "Free disk space on the database server.",
    "53200": "Give the database server more memory, or load fewer months at once.",
    "54": "PostgreSQL itself has this limit: shorten the row, or create a view with fewer columns.",
}
"""What helps against some of the other errors, by SQLSTATE or its class."""


def is_transient(error: BaseException) -> bool:
    """Whether it may help to try again. True also if the connection broke, because then there is no SQLSTATE.

    >>> is_transient(psycopg.errors.DeadlockDetected()), is_transient(psycopg.errors.TooManyColumns())
    (True, False)
    """
    if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(error.orig, psycopg.Error | psycopg2.Error):
        return is_transient(error.orig)
    if not isinstance(error, psycopg.Error | psycopg2.Error):
        return isinstance(error, sqlalchemy.exc.OperationalError)  # of MLflow's storage in another database
    state = sqlstate(error)
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg2.OperationalError)
    return state in TRANSIENT or state.startswith(TRANSIENT_CLASSES)


def sqlstate(error: psycopg.Error | psycopg2.Error) -> str | None:
    """The five characters of SQLSTATE; None if the server sent none."""
    state = error.sqlstate if isinstance(error, psycopg.Error) else error.pgcode
    return str(state) if state else None


def database_error(error: psycopg.Error | psycopg2.Error, what: str) -> DatabaseError:
    """Our own error for one of PostgreSQL's, `DatabaseUnavailable` if it may pass.

    Args:
        what: what failed, as the start of the message.
    """
    state = sqlstate(error) or ""
    remedy = REMEDIES.get(state) or REMEDIES.get(state[:2]) or ""
    kind = DatabaseUnavailable if is_transient(error) else DatabaseError
    message = " ".join(str(error).split())
    return kind(f"{what}: {message}" + (f". {remedy}" if remedy else ""))
