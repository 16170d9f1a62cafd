"""The backtesting service at its worst: many concurrent transactions that commit in any order or not at all."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect

MONTHS = 4

INSERT = """
INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio,
    max_drawdown, total_bets, win_rate, profit_factor, method, composite_score, created_at)
SELECT unnest(%(ids)s::text[]), 's1', '2023-06-01'::timestamptz + %(month)s * interval '200 days',
    '2023-01-01'::timestamptz + %(month)s * interval '1 month',
    '2023-01-28'::timestamptz + %(month)s * interval '1 month', random() - 0.5, 1, 0.1, 40, 0.5, 1.2, 'replay', 0.5,
    coalesce(%(created)s, now())"""
FEATURES = """
INSERT INTO ml_features SELECT unnest(%(ids)s::text[]), now(), jsonb_build_object('a', random())
ON CONFLICT (backtest_result_id) DO UPDATE SET features = excluded.features"""


class RolledBack(Exception):
    """Raised to roll back a transaction, or the part of it since a savepoint."""


@dataclass
class Written:
    """What all writers did. `commits` are pairs: when a transaction began (its `now()`), and when it committed."""

    rows: int = 0
    updates: int = 0
    deletes: int = 0
    late_features: int = 0
    rolled_back: int = 0
    savepoints: int = 0
    commits: list[tuple[datetime, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def out_of_order(self) -> int:
        """Transactions that committed after one that had begun later."""
        newest, count = datetime.min.replace(tzinfo=UTC), 0
        for began, _ in sorted(self.commits, key=lambda commit: commit[1]):
            count += began < newest
            newest = max(newest, began)
        return count

    def add(self, **counts: int) -> None:
        with self.lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)


@dataclass
class Writer:
    """One connection of the service; its seed decides everything it does.

    Args:
        hidden: also make changes that `recent_changes` cannot find: deletes, imports of old history with old
            `created_at`, and late features of such rows.
    """

    settings: Settings
    seed: int
    hidden: bool
    written: Written
    ids: list[str] = field(default_factory=list)

    def run(self, go_on: Callable[[], bool]) -> None:
        """Write while `go_on` is true."""
        chance = random.Random(self.seed)
        with closing(psycopg_connect(self.settings, "rows")) as connection:
            while go_on():
                self._transaction(connection, chance)
                time.sleep(chance.uniform(0, 0.02))

    def _transaction(self, connection: psycopg.Connection, chance: random.Random) -> None:
        parts: list[Callable[[psycopg.Connection, random.Random], dict[str, int]]] = [self._insert] * 3
        parts += [self._update, self._late_features] + ([self._delete] if self.hidden else [])
        before, counts = list(self.ids), {}
        try:
            with connection.transaction():
                began = connection.execute("SELECT now()").fetchone()
                for part in chance.choices(parts, k=chance.randint(1, 3)):
                    for name, count in self._savepoint(connection, chance, part).items():
                        counts[name] = counts.get(name, 0) + count
                time.sleep(chance.choice([0, 0, 0.01, 0.05, 0.3]))
                if chance.random() < 0.15:
                    raise RolledBack
        except RolledBack:
            self.ids = before
            self.written.add(rolled_back=1)
            return
        assert began is not None
        with self.written.lock:
            self.written.commits.append((began[0], time.monotonic()))
        self.written.add(**counts)

    def _savepoint(
        self,
        connection: psycopg.Connection,
        chance: random.Random,
        part: Callable[[psycopg.Connection, random.Random], dict[str, int]],
    ) -> dict[str, int]:
        if chance.random() < 0.5:
            return part(connection, chance)
        before = list(self.ids)
        try:
            with connection.transaction():
                counts = part(connection, chance)
                if chance.random() < 0.3:
                    raise RolledBack
        except RolledBack:
            self.ids = before
            return {"savepoints": 1}
        return counts | {"savepoints": 1}

    def _insert(self, connection: psycopg.Connection, chance: random.Random) -> dict[str, int]:
        ids = [f"{self.seed}-{chance.getrandbits(48)}" for _ in range(chance.randint(1, 8))]
        days = chance.choice([None, None, 0.5, 3, *([400, 4000] if self.hidden else [])])
        created = None if days is None else datetime.now(UTC) - timedelta(days=days)
        connection.execute(INSERT, {"ids": ids, "month": chance.randrange(MONTHS), "created": created})
        if chance.random() < 0.5:
            connection.execute(FEATURES, {"ids": ids})
        self.ids += ids
        return {"rows": len(ids)}

    def _update(self, connection: psycopg.Connection, chance: random.Random) -> dict[str, int]:
        if not self.ids:
            return {}
        change = "UPDATE backtest_results SET total_return = random() - 0.5 WHERE id = %s"
        return {"updates": connection.execute(change, [chance.choice(self.ids)]).rowcount}

    def _late_features(self, connection: psycopg.Connection, chance: random.Random) -> dict[str, int]:
        if not self.ids:
            return {}
        connection.execute(FEATURES, {"ids": [chance.choice(self.ids)]})
        return {"late_features": 1}

    def _delete(self, connection: psycopg.Connection, chance: random.Random) -> dict[str, int]:
        if not self.ids:
            return {}
        gone = self.ids.pop(chance.randrange(len(self.ids)))
        connection.execute("DELETE FROM ml_features WHERE backtest_result_id = %s", [gone])
        return {"deletes": connection.execute("DELETE FROM backtest_results WHERE id = %s", [gone]).rowcount}


def write(settings: Settings, writers: int, go_on: Callable[[], bool], *, hidden: bool) -> Written:
    """Let so many writers change the tables at once until `go_on`, called after each transaction, is false."""
    written = Written()
    threads = [
        threading.Thread(target=Writer(settings, seed, hidden, written).run, args=(go_on,)) for seed in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return written
