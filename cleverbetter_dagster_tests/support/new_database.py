"""A new database for each test, on the one server of the test run."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from cleverbetter_dagster.store.postgres.postmaster import DATABASE, HOST, ROLE, ServerAddress

PREFIX = "cleverbetter_test_"
"""Tests may drop databases with such names on any server."""

EXAMPLE = f"postgresql://{ROLE}:password@{HOST}:5432/{DATABASE}"


def given_server(url: str) -> ServerAddress:
    """A server on this machine, by a URL such as `EXAMPLE`.

    Raises:
        ValueError: it has another role, host or database, or lacks a part.
    """
    given = conninfo_to_dict(url)
    if (given.get("user"), given.get("host"), given.get("dbname")) != (ROLE, HOST, DATABASE) or not (
        given.get("password") and given.get("port")
    ):
        raise ValueError(f"The server's URL must be {EXAMPLE}, but for password and port.")
    return ServerAddress(pid=0, port=int(given["port"]), password=given["password"])


@contextmanager
def new_database(
    server: ServerAddress, name: str, template: str | None = None, *, timescaledb: bool = False
) -> Iterator[str]:
    """The URL of a database that exists inside the block. One that an interrupted run left is replaced.

    Args:
        server: where to make it, as its superuser.
        name: of the database, without `PREFIX`.
        template: the name, without `PREFIX`, of the database to copy.
        timescaledb: whether to create that extension in it.
    """
    name = PREFIX + name
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template:
        create += sql.SQL(" TEMPLATE {}").format(sql.Identifier(PREFIX + template))
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with server.connect() as connection:
        connection.execute(drop)
        connection.execute(create + _quickly(connection))
    url = server.url.replace(f"/{DATABASE}?", f"/{name}?")
    try:
        if timescaledb:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE EXTENSION timescaledb")
        yield url
    finally:
        with server.connect() as connection:
            connection.execute(drop)


def _quickly(connection: psycopg.Connection) -> sql.SQL:
    """The option for a quick CREATE DATABASE. PostgreSQL before 15 has no such option, and is always quick."""
    return sql.SQL(" STRATEGY file_copy" if connection.info.server_version >= 150_000 else "")
