"""Locks of a database by name, which its server frees when the connection that has one ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def advisory_lock(connection: psycopg.Connection, name: str) -> Iterator[None]:
    """Hold this database's lock `name` until the block or the connection ends; waits until it is free.

    Commit inside the block what the next holder must see.
    """
    key = [f"cleverbetter:{name}"]
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", key)
    try:
        yield
    finally:
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            connection.rollback()
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)


def try_advisory_lock(connection: psycopg.Connection, name: str) -> bool:
    """Take this database's lock `name` unless somebody has it; whether it is the connection's now, until that ends."""
    key = [f"cleverbetter:{name}"]
    return connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", key).fetchone() == (True,)
