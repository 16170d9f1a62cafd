"""Sessions that read give way to whoever alters the tables, and notice a table that was written anew."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import psycopg2
import pytest
from psycopg import sql

from cleverbetter_dagster.errors import DatabaseError, TablesInUse
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres import giving_way
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.giving_way import read_session, with_patience

TABLE = [sql.Identifier("t")]
COUNT = sql.SQL("SELECT count(*) FROM t")
MOST_SECONDS = 5.0
"""Less than readers that do not give way read on. A free machine needs 0.2 to 1 s; a test machine may be busy."""

FROZEN = """
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.postgres.giving_way import read_session
from psycopg import sql
import time
with read_session(load_settings()) as session:
    session.lock([sql.Identifier("t")])
    time.sleep(1)
    print("watched", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        connection.execute("CREATE TABLE t (n int PRIMARY KEY, word text)")
        connection.execute("INSERT INTO t SELECT n, n::text FROM generate_series(1, 1000) n")
        yield connection


class Alteration(threading.Thread):
    """Runs a statement of somebody else; `seconds` is how long it took."""

    def __init__(self, settings: Settings, statement: str) -> None:
        super().__init__()
        self.settings, self.statement, self.seconds = settings, statement, float("inf")

    def run(self) -> None:
        with closing(psycopg_connect(self.settings, "rows", autocommit=True)) as connection:
            began = time.monotonic()
            connection.execute(self.statement.encode())
            self.seconds = time.monotonic() - began


def read_until_ended(settings: Settings, beside: Callable[[], None] = lambda: None) -> None:
    """Read until somebody ends the session; `beside` is called once the table is locked."""
    with read_session(settings) as session:
        session.lock(TABLE)
        session.rows(sql.SQL("SELECT * FROM t WHERE n = 1"))
        beside()
        for _ in range(400):
            session.rows(COUNT)
            time.sleep(0.05)


@pytest.mark.parametrize(
    "statement",
    ["ALTER TABLE t ADD COLUMN more int", "TRUNCATE t", "VACUUM FULL t", "REINDEX INDEX t_pkey", "DROP TABLE t"],
)
def test_whoever_alters_a_table_waits_for_no_reader(
    database: Settings, connection: psycopg.Connection, statement: str
) -> None:
    alteration = Alteration(database, statement)
    with pytest.raises(TablesInUse, match=rf"gave way to others: process \d+, {statement}"):
        read_until_ended(database, alteration.start)
    alteration.join()
    assert alteration.seconds < MOST_SECONDS


def test_a_frozen_reader_gives_way_too(environment: Settings, connection: psycopg.Connection) -> None:
    with subprocess.Popen([sys.executable, "-c", FROZEN], stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout is not None and reader.stdout.readline() == "watched\n"
            os.kill(reader.pid, signal.SIGSTOP)
            began = time.monotonic()
            connection.execute("ALTER TABLE t ADD COLUMN more int")
            assert time.monotonic() - began < MOST_SECONDS
        finally:
            reader.kill()


def test_a_session_that_nobody_disturbs_reads_on(database: Settings, connection: psycopg.Connection) -> None:
    with read_session(database) as session:
        session.lock(TABLE)
        connection.execute("INSERT INTO t VALUES (0)")
        connection.execute("CREATE INDEX ON t (word)")
        time.sleep(1)  # it is watched now
        assert session.rows(COUNT) == [(1000,)]


def test_a_table_that_others_keep_locked_is_in_use(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_way, "LOCK_TIMEOUT", "50ms")
    tries = []

    def read() -> None:
        tries.append(1)
        with read_session(database) as session:
            session.lock(TABLE)

    with connection.transaction():
        connection.execute("LOCK TABLE t")
        with pytest.raises(TablesInUse, match=r"keep the tables locked.*was tried again for 0 s; try again later"):
            with_patience(read, 0.1)
        assert len(tries) == 1
    with_patience(read, 0.1)
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("t", "ALTER TABLE t ALTER n TYPE bigint"),
        ("t", "TRUNCATE t"),
        ("seen", "TRUNCATE t"),
        ("parted", "TRUNCATE t"),
        ("kept", "REFRESH MATERIALIZED VIEW kept"),
    ],
)
def test_a_table_written_anew_before_the_lock_is_not_read(
    database: Settings, connection: psycopg.Connection, name: str, statement: str
) -> None:
    """The snapshot is older than the new rows, and would show none."""
    creations = {
        "seen": "CREATE VIEW seen AS SELECT * FROM t",
        "kept": "CREATE MATERIALIZED VIEW kept AS SELECT * FROM t",
        "parted": "CREATE TABLE parted (n int NOT NULL, word text) PARTITION BY LIST (word); "
        "ALTER TABLE parted ATTACH PARTITION t DEFAULT",
    }
    connection.execute(creations.get(name, "SELECT 1").encode())
    with closing(psycopg_connect(database, "rows")) as other, read_session(database) as session:
        other.execute(statement.encode())
        threading.Timer(0.3, other.commit).start()
        with pytest.raises(TablesInUse, match=rf"The table {name if name == 'kept' else 't'} was written anew"):
            session.lock([sql.Identifier(name)])


def test_a_session_that_cannot_be_watched_ends(
    database: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_way, "_WATCH", "SELECT {transaction}, {pause}, pg_sleep('never')")
    with pytest.raises(DatabaseError, match="Nobody could watch"):
        read_until_ended(database)


def test_a_table_that_was_just_dropped_is_in_use(database: Settings, connection: psycopg.Connection) -> None:
    """Whoever tries again finds out whether it is still missing."""
    with read_session(database) as session:
        session.rows(sql.SQL("SELECT 1"))
        connection.execute("DROP TABLE t")
        with pytest.raises(psycopg2.errors.UndefinedTable) as dropped:
            session.lock(TABLE)
    assert isinstance(giving_way._meaning(dropped.value), TablesInUse)
