"""Under many writers and kills: the loaded rows equal the tables, and each state of them is loaded once."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.load_log import read_load_log
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.services.ingest.change_ticker import ROWS_ARTEFACT, tick
from cleverbetter_dagster_tests.services.ingest.change_writers import write

LONGEST = 120.0
"""Seconds of writing after which a test stops waiting for loads."""

FORGET = {"CLEVERBETTER_DROPPED_HISTORY": "forget"}

TABLE = """
SELECT r.id, r.total_return, (f.features ->> 'a')::float8
FROM backtest_results r LEFT JOIN ml_features f ON f.backtest_result_id = r.id"""


def table_content(settings: Settings) -> set[tuple[Any, ...]]:
    with psycopg_connect(settings, "rows") as connection:
        return set(connection.execute(TABLE).fetchall())


def loaded_content(settings: Settings) -> set[tuple[Any, ...]]:
    store = ArtefactStore(settings.artefacts_base)
    rows: set[tuple[Any, ...]] = set()
    for month in read_load_log(settings):
        table = store.read_tables([ROWS_ARTEFACT.format(month=month)])
        empty = [None] * table.num_rows
        features = table["ml_a"].to_pylist() if "ml_a" in table.column_names else empty
        rows |= set(zip(table["id"].to_pylist(), table["roi"].to_pylist(), features, strict=True))
    return rows


def content_hashes(settings: Settings) -> list[str]:
    with psycopg_connect(settings, "state") as connection:
        return [
            content_hash
            for (content_hash,) in connection.execute("SELECT content_hash FROM training_snapshots ORDER BY id")
        ]


def until(settings: Settings, seconds: float, loads: int) -> Callable[[], bool]:
    """Go on for `seconds`, and on a slow machine until there were so many loads, but never longer than `LONGEST`."""
    began = time.monotonic()
    counted, enough = [began], [False]

    def go_on() -> bool:
        now = time.monotonic()
        if not enough[0] and now - counted[0] > 0.5:
            counted[0] = now
            enough[0] = loads_so_far(settings) >= loads
        return now - began < (seconds if enough[0] else LONGEST)

    return go_on


def loads_so_far(settings: Settings) -> int:
    """How many loads were recorded for a training."""
    return len(content_hashes(settings)) if read_load_log(settings) else 0


def fire(settings: Settings, mode: str, writers: int, seconds: float, loads: int) -> None:
    """Writers, and a ticker that is killed again and again; then ticks until nothing is new, and the comparison."""
    # Its writers delete the oldest rows too, and every deletion is to be seen.
    settings = settings.model_copy(update={"reconcile_minutes": 1e6, "dropped_history": "forget"})
    ensure_source_tables(settings)
    complete = mode == "complete"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "cleverbetter_dagster_tests.services.ingest.change_ticker",
        mode,
        "7",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | FORGET
    ) as ticker:
        assert ticker.stdout is not None and ticker.stdout.readline() == "ready\n"
        written = write(settings, writers, until(settings, seconds, loads), hidden=complete)
        kills = int(ticker.communicate()[0])
    assert ticker.returncode == 0
    ticks = 1
    while tick(settings, complete=complete).changed:
        ticks += 1
        assert ticks < 5, "nothing is written any more, but something is still new"
    there, loaded, runs = table_content(settings), loaded_content(settings), content_hashes(settings)
    twice = sum(before == after for before, after in pairwise(runs))
    print(
        f"\n{mode}: {written.rows} rows inserted, {written.updates} updated, {written.deletes} deleted, "
        f"{written.late_features} late features, {len(written.commits)} transactions committed "
        f"({written.out_of_order} out of order), {written.rolled_back} rolled back, {written.savepoints} savepoints; "
        f"{kills} kills, {len(runs)} loads; missed {len(there - loaded)}, deleted but kept {len(loaded - there)}, "
        f"loaded twice {twice}"
    )
    assert written.out_of_order > 0 and kills > 0 and len(runs) >= loads
    assert (len(there - loaded), len(loaded - there), twice) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["complete", pytest.param("recent", marks=pytest.mark.slow)])
def test_no_row_is_missed_and_none_loaded_twice(environment: Settings, mode: str) -> None:
    fire(environment, mode, writers=4, seconds=4, loads=3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["recent", "complete"])
def test_no_row_is_missed_in_a_long_run(environment: Settings, mode: str) -> None:
    fire(environment, mode, writers=8, seconds=40, loads=20)
