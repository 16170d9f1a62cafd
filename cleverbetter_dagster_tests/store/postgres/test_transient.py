"""Which errors of PostgreSQL are tried again."""

import psycopg
import psycopg2
import pytest
from sqlalchemy.exc import OperationalError

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.transient import TRANSIENT, is_transient


def raised(settings: Settings, sqlstate: str) -> psycopg.Error:
    """The error a real server sends with this SQLSTATE."""
    with psycopg_connect(settings, "rows", autocommit=True) as connection, pytest.raises(psycopg.Error) as error:
        connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$")
    return error.value


@pytest.mark.parametrize("sqlstate", ["08006", *TRANSIENT])
def test_what_passes_by_itself_is_tried_again(database: Settings, sqlstate: str) -> None:
    assert is_transient(raised(database, sqlstate))


@pytest.mark.parametrize("sqlstate", ["53100", "53200", "54000", "54011", "57014", "42501", "22P02", "XX000"])
def test_what_stays_is_not_tried_again(database: Settings, sqlstate: str) -> None:
    error = raised(database, sqlstate)
    assert not is_transient(error)
    assert not is_transient(OperationalError("SELECT", None, error))


def test_a_connection_that_broke_is_tried_again(database: Settings) -> None:
    with psycopg_connect(database, "rows", autocommit=True) as connection, pytest.raises(psycopg.Error) as error:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert is_transient(error.value)
    assert is_transient(psycopg2.OperationalError("server closed the connection unexpectedly"))


def test_other_errors_are_not_transient() -> None:
    assert not is_transient(ValueError("x"))
