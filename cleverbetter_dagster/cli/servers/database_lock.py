"""The lock by which one database has one `cleverbetter up`: two daemons would start every training twice."""

import socket
import time
from typing import TYPE_CHECKING

from cleverbetter_dagster.errors import CleverBetterError, DatabaseUnavailable
from cleverbetter_dagster.settings import Settings

if TYPE_CHECKING:
    import psycopg

CHECK_SECONDS = 10.0
"""How often the lock's connection is looked at: a restarted server has forgotten the lock."""

_NAME = "up"
_HOLDER = """
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND (classid::bigint << 32 | objid::bigint) = hashtextextended('cleverbetter:' || %s, 0)
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class AlreadyUp(CleverBetterError):
    """Another `cleverbetter up` runs for this home or this database, or left something running."""


class DatabaseLock:
    """Held by a connection, so that the server releases it when `up` dies, however it dies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: psycopg.Connection | None = None
        self._checked = 0.0

    def hold(self) -> None:
        """Take the lock.

        Raises:
            AlreadyUp: another `up` has it; the message says where that runs.
            DatabaseUnavailable: no server answers.
        """
        from cleverbetter_dagster.store.postgres.database import psycopg_connect
        from cleverbetter_dagster.store.postgres.locks import try_advisory_lock

        connection = psycopg_connect(self._settings, "dagster", autocommit=True)
        self._checked = time.monotonic()
        if try_advisory_lock(connection, _NAME):
            name = f"cleverbetter up on {socket.gethostname()}, {self._settings.home}"
            connection.execute("SELECT set_config('application_name', %s, false)", [name])
            self._connection = connection
            return
        holder = connection.execute(_HOLDER, [_NAME]).fetchone()
        connection.close()
        raise AlreadyUp(
            f"This database has a `cleverbetter up` already ({holder[0] if holder else 'it has just ended'}), and two "
            "would start every training twice. Stop that one by `cleverbetter down` there, or set DATABASE_URL to "
            "another database."
        )

    def keep(self) -> None:
        """Take the lock again if its connection was lost. Call it often; it asks every CHECK_SECONDS.

        Raises:
            AlreadyUp: another `up` took it meanwhile.
        """
        if time.monotonic() - self._checked < CHECK_SECONDS:
            return
        import psycopg

        self._checked = time.monotonic()
        try:
            if self._connection is not None:
                self._connection.execute("SELECT")
                return
        except psycopg.Error:
            self.release()
        try:
            self.hold()
        except DatabaseUnavailable:
            return  # asked again later; without a database nobody else can work either

    def release(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
