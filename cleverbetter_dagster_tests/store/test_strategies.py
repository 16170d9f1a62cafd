"""The names of strategies, whatever the table of them looks like, and without one."""

from collections.abc import Iterator

import psycopg
import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.strategies import strategy_names

ID = "00000000-0000-0000-0000-000000000007"


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    ("columns", "key"),
    [("id uuid, name varchar(255)", ID), ("strategy_id text, title text, id int", ID), ("id bigint, name text", "7")],
)
def test_names_are_found_by_id_of_any_type(
    database: Settings, connection: psycopg.Connection, columns: str, key: str
) -> None:
    connection.execute(f"CREATE TABLE strategies ({columns})")
    connection.execute("INSERT INTO strategies VALUES (%s, 'Favourites %%')", [key])
    assert strategy_names(database, [key, "unknown"]) == {key: "Favourites %"}


@pytest.mark.parametrize("columns", [None, "id text, is_active boolean", "name text"])
def test_without_names_there_are_none(database: Settings, connection: psycopg.Connection, columns: str | None) -> None:
    if columns:
        connection.execute(f"CREATE TABLE strategies ({columns})")
    assert strategy_names(database, [ID]) == {}


def test_another_table_may_have_the_names(database: Settings, connection: psycopg.Connection) -> None:
    connection.execute("CREATE SCHEMA service")
    connection.execute("CREATE TABLE service.systems AS SELECT 's1' AS strategy_id, 'Lay the draw' AS name")
    elsewhere = database.model_copy(update={"strategies_table": "service.systems"})
    assert strategy_names(elsewhere, ["s1"]) == {"s1": "Lay the draw"}
