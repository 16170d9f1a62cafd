"""Whether the process of a run lives, wherever it is: it holds a lock of the database as long as it does.

PostgreSQL frees the lock when the process is killed, its machine stops or its network is cut. So neither Redis nor the
machine has to be asked, and both may be restarted.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.locks import try_advisory_lock

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
KEEPALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
"""PostgreSQL misses a machine that was cut off after 25 s."""


@contextmanager
def held_lease(settings: Settings, run_id: str, look: Callable[[], None]) -> Iterator[None]:
    """Hold the lease of a run until the block ends.

    Args:
        look: called every `LOOK_SECONDS`, in a thread, while the database answers. After a while without it, somebody
            may have ended the run and started another one in its place.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    lease = _Lease(settings, run_id, look)
    lease.start()
    try:
        yield
    finally:
        lease.end()


def is_held(settings: Settings, run_id: str) -> bool:
    """Whether the process of a run lives.

    Raises:
        CleverBetterError: as `psycopg_connect`.
    """
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        return not _taken(connection, run_id)  # closing the connection gives it back


class _Lease(threading.Thread):
    def __init__(self, settings: Settings, run_id: str, look: Callable[[], None]) -> None:
        super().__init__(name=f"lease of {run_id}", daemon=True)
        self._settings, self._run_id, self._look = settings, run_id, look
        self._ended = threading.Event()
        self._connection = self._connected()

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                if self._connection.closed:
                    self._connection = self._connected()
                _taken(self._connection, self._run_id)
                self._look()
            except (psycopg.Error, CleverBetterError, SQLAlchemyError) as error:
                logger.warning("The lease of %s is not sure while the database is away: %s", self._run_id, error)
                self._connection.close()

    def end(self) -> None:
        self._ended.set()
        self.join()
        self._connection.close()

    def _connected(self) -> psycopg.Connection:
        connection = psycopg_connect(self._settings, "state", autocommit=True)
        connection.execute(KEEPALIVE)
        _taken(connection, self._run_id)  # if a lost connection has it still, the next look takes it
        return connection


def _taken(connection: psycopg.Connection, run_id: str) -> bool:
    return try_advisory_lock(connection, f"run {run_id}")
