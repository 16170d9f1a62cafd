"""Databases of a test's own on the one server of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from cleverbetter_dagster.store.postmaster import DATABASE, ServerAddress


def given_server(url: str) -> ServerAddress:
    """A server that is reached here, by its superuser's `postgresql://postgres:password@127.0.0.1:5432/cleverbetter`."""
    given = conninfo_to_dict(url)
    return ServerAddress(pid=0, port=int(given["port"]), password=given["password"])


@contextmanager
def new_database(
    server: ServerAddress, name: str, template: str | None = None, *, timescaledb: bool = False
) -> Iterator[str]:
    """The URL of a database that lasts as long as the block. One that an interrupted run left behind is replaced.

    Args:
        server: where to make it, as its superuser.
        name: of the database.
        template: the database it begins as a copy of.
        timescaledb: whether to create that extension in it.
    """
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template:
        create += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
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
    """What makes CREATE DATABASE quick. Before PostgreSQL 15 there was no other way, and no word for it."""
    return sql.SQL(" STRATEGY file_copy" if connection.info.server_version >= 150_000 else "")
