"""While months are loaded and compared, others alter the tables at any time: nobody waits for us for long."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from cleverbetter_dagster.errors import TablesInUse
from cleverbetter_dagster.services.ingest import loading
from cleverbetter_dagster.services.ingest.change_detection import all_changes, recent_changes
from cleverbetter_dagster.services.ingest.loading import MonthLoad, load_months
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres import giving_way
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.load_log import record_load
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.defs.automation.ticks import insert_rows

MONTHS = [f"2023-{month:02}" for month in range(1, 9)]
MOST_SECONDS = 2.0

WAITING = """
SELECT max(extract(epoch FROM clock_timestamp() - waitstart))::float8 FROM pg_locks
WHERE NOT granted AND pg_blocking_pids(pid) && %s::int[]"""


@dataclass
class Readers:
    """The sessions of ours that read, and the longest time that somebody else waited for one of them."""

    settings: Settings
    pids: list[int] = field(default_factory=list)
    longest_wait: float = 0.0

    def observe(self, done: threading.Event) -> None:
        with closing(psycopg_connect(self.settings, "rows", autocommit=True)) as connection:
            while not done.wait(0.02):
                (seconds,) = connection.execute(WAITING, [list(self.pids)]).fetchone() or (None,)
                self.longest_wait = max(self.longest_wait, seconds or 0.0)


@pytest.fixture
def readers(database: Settings, monkeypatch: pytest.MonkeyPatch) -> Readers:
    """Knows every session that reads, in tables with rows in eight months."""
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        for month in MONTHS:
            insert_rows(connection, month, 50)
    readers, connect = Readers(database), giving_way.psycopg2_connect

    def connected(*arguments: Any) -> Any:
        connection = connect(*arguments)
        readers.pids.append(connection.info.backend_pid)
        return connection

    monkeypatch.setattr(giving_way, "psycopg2_connect", connected)
    return readers


@contextmanager
def beside(*actions: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run the actions in threads until the block ends."""
    done = threading.Event()
    threads = [threading.Thread(target=action, args=[done]) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def slowly(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """Let each month take so long to load, as a large one does. Returns the months that are read, as they are."""
    read: list[str] = []
    load = loading._load

    def loaded(*arguments: Any) -> MonthLoad:
        read.append(arguments[2].key)
        time.sleep(seconds)
        return load(*arguments)

    monkeypatch.setattr(loading, "_load", loaded)
    return read


def test_a_load_survives_an_alteration_and_freezes_nobody(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for a migration that waited for it, and every writer behind the migration too."""
    settings, read, waits = readers.settings, slowly(monkeypatch, 0.15), []

    def alter(done: threading.Event) -> None:
        with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
            while len(read) < 3:
                time.sleep(0.01)
            connection.execute("ALTER TABLE backtest_results ADD COLUMN note text")

    def write(done: threading.Event) -> None:
        with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
            while not done.wait(0.02):
                began = time.monotonic()
                insert_rows(connection, "2023-08", 1, f"later{began}")
                waits.append(time.monotonic() - began)

    with beside(alter, write, readers.observe):
        load = load_months(settings, MONTHS)
    assert max(readers.longest_wait, *waits) < 5  # a test machine may be busy
    assert len(readers.pids) > 1  # it gave way
    assert [load.months[month].table.num_rows for month in MONTHS[:-1]] == [50] * 7
    assert load.months["2023-08"].table.num_rows == load.log["2023-08"].digest.rows
    assert sorted(set(read)) == MONTHS
    assert len(read) <= len(MONTHS) + 2  # what was loaded, and had not changed, was not read again


STATEMENTS = (
    "ALTER TABLE backtest_results ADD COLUMN IF NOT EXISTS note text",
    "ALTER TABLE backtest_results DROP COLUMN IF EXISTS note",
    "ALTER TABLE ml_features ALTER features SET STORAGE EXTENDED",
    "VACUUM FULL backtest_results",
    "VACUUM FULL ml_features",
    "REINDEX TABLE backtest_results",
    "TRUNCATE ml_features",
    "TRUNCATE backtest_results",
    "BEGIN; LOCK TABLE ml_features; SELECT pg_sleep(0.2); ALTER TABLE backtest_results ADD COLUMN x int; "
    "ALTER TABLE backtest_results DROP COLUMN x; COMMIT",
)
CHUNK_DROP = "SELECT drop_chunks('backtest_results', older_than => now() - random() * interval '3 years')"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_waits_for_us_whatever_is_altered(
    readers: Readers, monkeypatch: pytest.MonkeyPatch, seed: int, with_timescaledb: bool
) -> None:
    settings, chance, altered, given_up = readers.settings, random.Random(seed), [], []
    slowly(monkeypatch, 0.1)
    statements = [*STATEMENTS, *([CHUNK_DROP] * 3 if with_timescaledb else [])]

    def alter(done: threading.Event) -> None:
        with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
            while not done.wait(chance.uniform(0, 1.5)):
                for statement in chance.choice(statements).split("; "):
                    connection.execute(statement.encode())
                altered.append(1)

    def write(done: threading.Event) -> None:
        with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
            while not done.wait(0.02):
                with suppress(psycopg.errors.DeadlockDetected):
                    insert_rows(connection, chance.choice(MONTHS), 3, f"later{time.monotonic()}")

    def look(done: threading.Event) -> None:
        while not done.wait(0.1):
            with suppress(TablesInUse):
                chance.choice([recent_changes, all_changes])(settings)

    with beside(alter, write, look, readers.observe):
        ends = time.monotonic() + 40
        loads = 0
        while time.monotonic() < ends:
            try:
                record_load(settings, load_months(settings, MONTHS).log, f"run {loads}", None)
                loads += 1
            except TablesInUse as error:
                given_up.append(str(error))
    print(
        f"\n{len(altered)} alterations, {loads} loads, {len(given_up)} given up, {len(readers.pids)} sessions; "
        f"longest wait {readers.longest_wait:.2f} s"
    )
    assert readers.longest_wait < MOST_SECONDS
    assert loads and len(altered) > 10
    load = load_months(settings, MONTHS)
    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        counted = connection.execute("SELECT count(*) FROM backtest_results").fetchone()
    assert sum(month.table.num_rows for month in load.months.values()) == (counted or [None])[0]
