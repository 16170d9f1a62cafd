"""Reads tables that others write and alter, so that none of them waits for us for long.

A transaction that reads a table holds a lock that only `ACCESS EXCLUSIVE` conflicts with: `ALTER TABLE`, `TRUNCATE`,
`VACUUM FULL`, `DROP`, the compression of a chunk. But whoever waits for that lock makes everybody behind it wait too.
So one session reads all that one snapshot needs, waits at most `LOCK_TIMEOUT` for a lock itself, and is
ended as soon as somebody waits for it: by a second session, whose watch runs on the server, where neither a busy nor a
frozen process of ours can stop it. What was read is then tried again.
"""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, BinaryIO, TypeVar

import psycopg
import psycopg2  # type: ignore[import-untyped]
from psycopg import sql

from cleverbetter_dagster.errors import DatabaseError, TablesInUse
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg2_connect, psycopg_connect
from cleverbetter_dagster.store.postgres.session import server_encoding
from cleverbetter_dagster.store.postgres.transient import database_error, sqlstate

LOCK_TIMEOUT = "1500ms"
"""How long we wait for a lock, unless the address sets a limit of its own."""

UNWATCHED_SECONDS = 0.4
"""A transaction that ends sooner needs no watch."""

WATCH_SECONDS = 0.2
"""Between two looks of the watch."""

LOOK_PATIENCE_SECONDS, LOAD_PATIENCE_SECONDS = 10.0, 60.0
"""How long a look at the tables, and a load, pauses in all before it gives up."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_LOCK_NOT_AVAILABLE, _QUERY_CANCELED, _UNDEFINED_TABLE = "55P03", "57014", "42P01"
STOPPED = "The database stopped sending rows"
UNWATCHED = "Nobody could watch whether others wait for the tables"
LONGEST_SHOWN = 200

_LIMIT_WAITING = "SELECT set_config('lock_timeout', {}, true) WHERE current_setting('lock_timeout') = '0'"

_OWN_TRANSACTION = """
SELECT virtualtransaction FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'virtualxid' AND granted"""

# A transaction always holds its own `virtualxid` lock: when that is gone it has ended, whoever has its process now.
_WATCH = """
DO $watch$
DECLARE waiting int; ours int; statement text;
BEGIN
    LOOP
        WITH locks AS MATERIALIZED (SELECT * FROM pg_locks),
            held AS (SELECT pid, locktype, database, relation FROM locks
                WHERE virtualtransaction = {transaction} AND granted)
        SELECT (SELECT min(pid) FROM held WHERE locktype = 'virtualxid'),
            (SELECT min(w.pid) FROM locks w JOIN held USING (locktype, database, relation)
             WHERE NOT w.granted AND w.mode = 'AccessExclusiveLock')
        INTO ours, waiting;
        EXIT WHEN ours IS NULL;
        IF waiting IS NOT NULL THEN
            SELECT query INTO statement FROM pg_stat_activity WHERE pid = waiting;
            PERFORM pg_terminate_backend(ours);
            RAISE INFO 'process %, %', waiting, coalesce(statement, 'which is gone');
            EXIT;
        END IF;
        PERFORM pg_sleep({pause});
    END LOOP;
END $watch$"""

# TRUNCATE and a rewriting ALTER TABLE may commit after our snapshot and before our lock: then the snapshot would show
# the table empty. `pg_relation_filenode` tells the present file, `pg_class` that of the snapshot.
_REPLACED = """
WITH RECURSIVE parts(oid) AS (
    SELECT unnest({tables}::regclass[])::oid
    UNION SELECT part FROM parts CROSS JOIN LATERAL (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = parts.oid
        UNION ALL SELECT refobjid FROM pg_rewrite JOIN pg_depend ON objid = pg_rewrite.oid
        WHERE ev_class = parts.oid AND classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass) x(part))
SELECT relname FROM pg_class JOIN parts USING (oid)
WHERE relkind IN ('r', 'm') AND relfilenode IS DISTINCT FROM pg_relation_filenode(oid) LIMIT 1"""

_LOCKED = "SELECT FROM {} LIMIT 0"

Result = TypeVar("Result")


class ReadSession:
    """One read-only REPEATABLE READ transaction. `read_session` makes it; it is valid inside that block."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, query: sql.SQL | sql.Composed) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        cursor = self._connection.cursor()
        cursor.execute(query.as_string())
        return list(cursor.fetchall())

    def rows_or_none(
        self, query: sql.Composed, refused: Callable[[psycopg2.Error], bool], options: str = ""
    ) -> list[tuple[Any, ...]] | None:
        """All rows of a query; None if it fails with an error that is `refused`. The transaction goes on either way.

        Args:
            options: statements that hold for this query only.
        """
        cursor = self._connection.cursor()
        cursor.execute(f"SAVEPOINT attempt; {options}")
        try:
            return self.rows(query)
        except psycopg2.Error as error:
            if not refused(error):
                raise
            return None
        finally:
            if not self._connection.closed:
                cursor.execute("ROLLBACK TO attempt")

    def copy(self, query: sql.Composed, sink: BinaryIO) -> None:
        """Write the rows of a query in COPY's text format, and in the encoding UTF8 if the server knows any."""
        cursor, any_bytes = self._connection.cursor(), server_encoding(self._connection) == "SQL_ASCII"
        if any_bytes:  # otherwise text that is no UTF-8 ends the answer
            cursor.execute("SET LOCAL client_encoding TO SQL_ASCII")
        cursor.copy_expert(sql.SQL("COPY ({}) TO STDOUT").format(query).as_string(), sink)
        if any_bytes:
            cursor.execute("SET LOCAL client_encoding TO UTF8")

    def lock(self, tables: list[sql.Identifier]) -> None:
        """Take every lock, before the first row.

        Raises:
            TablesInUse: a table was emptied or written anew after the snapshot was taken.
        """
        for table in tables:
            self.rows(sql.SQL(_LOCKED).format(table))
        names = [table.as_string() for table in tables]
        for (name,) in self.rows(sql.SQL(_REPLACED).format(tables=names)):
            raise TablesInUse(f"The table {name} was written anew just before it was read.")


@contextmanager
def read_session(settings: Settings) -> Iterator[ReadSession]:
    """A transaction that reads the rows' tables and gives way. Needs only the right to read.

    Raises:
        TablesInUse: others alter the tables.
        DatabaseUnavailable: the server does not answer, or drops the connection.
        CleverBetterError: as `psycopg_connect`.
    """
    with closing(psycopg2_connect(settings, "rows")) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        session, watch = ReadSession(connection), None
        try:
            session.rows(sql.SQL(_LIMIT_WAITING).format(LOCK_TIMEOUT))
            watch = _Watch(settings, session.rows(sql.SQL(_OWN_TRANSACTION))[0][0], connection.fileno())
            yield session
        except psycopg2.Error as error:
            connection.close()
            raise (watch.reason() if watch else None) or _meaning(error) from None
        finally:
            connection.close()
            if watch:
                watch.end()


def _meaning(error: psycopg2.Error) -> DatabaseError:
    if sqlstate(error) == _LOCK_NOT_AVAILABLE:
        return TablesInUse(f"Others keep the tables locked: {' '.join(str(error).split())}.")
    if sqlstate(error) == _UNDEFINED_TABLE:  # it, or a chunk, was there just before
        return TablesInUse(f"A table was dropped just before it was read: {' '.join(str(error).split())}.")
    return database_error(error, STOPPED)


class _Watch:
    """Ends a transaction as soon as somebody waits for it; does nothing in its first moments, nor after its end."""

    def __init__(self, settings: Settings, transaction: str, descriptor: int) -> None:
        self._settings, self._transaction = settings, transaction
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._ended = threading.Event()
        self._reason: DatabaseError | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The transaction is over. The watch on the server notices it by itself."""
        self._ended.set()

    def reason(self) -> DatabaseError | None:
        """Why the transaction, which is over, was ended; None if the watch did not."""
        self.end()
        self._thread.join()
        return self._reason

    def _run(self) -> None:
        with self._socket:
            if self._ended.wait(UNWATCHED_SECONDS):
                return
            try:
                self._watch()
            except (psycopg.Error, DatabaseError) as error:
                # Nobody watches any more, so the transaction must not go on.
                self._reason = error if isinstance(error, DatabaseError) else database_error(error, UNWATCHED)
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _watch(self) -> None:
        with closing(psycopg_connect(self._settings, "rows", autocommit=True)) as connection:
            connection.add_notice_handler(self._gave_way)
            connection.execute("SET statement_timeout = 0")
            watch = sql.SQL(_WATCH).format(transaction=self._transaction, pause=WATCH_SECONDS)
            connection.execute(watch)

    def _gave_way(self, notice: psycopg.errors.Diagnostic) -> None:
        who = " ".join((notice.message_primary or "").split())
        self._reason = TablesInUse(f"Reading the tables gave way to others: {who[:LONGEST_SHOWN]}.")


def is_cancelled(error: psycopg2.Error) -> bool:
    """Whether a statement took longer than `statement_timeout`."""
    return sqlstate(error) == _QUERY_CANCELED


def with_patience(work: Callable[[], Result], seconds: float) -> Result:
    """The result of `work`, which is tried again after growing pauses while others alter the tables.

    Args:
        seconds: all pauses together.

    Raises:
        TablesInUse: they still do.
    """
    waited, pause = 0.0, _FIRST_PAUSE
    while True:
        try:
            return work()
        except TablesInUse as error:
            if waited + pause > seconds:
                raise TablesInUse(f"{error} It was tried again for {waited:.0f} s; try again later.") from None
        time.sleep(pause * random.uniform(0.5, 1))
        waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)
