"""Rows under fire: what was taken is what is in the tables, each state of it once, whatever writers and kills do."""

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
from cleverbetter_dagster.store.source.load_log import read_taken
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.services.ingest.change_ticker import ROWS_ARTEFACT, tick
from cleverbetter_dagster_tests.services.ingest.change_writers import write

LONGEST = 120.0
"""Seconds of writing after which a test gives up on the takings it wants."""

TABLE = """
SELECT r.id, r.total_return, (f.features ->> 'a')::float8
FROM backtest_results r LEFT JOIN ml_features f ON f.backtest_result_id = r.id"""


def table_content(settings: Settings) -> set[tuple[Any, ...]]:
    with psycopg_connect(settings, "rows") as connection:
        return set(connection.execute(TABLE).fetchall())


def taken_content(settings: Settings) -> set[tuple[Any, ...]]:
    store = ArtefactStore(settings.artefacts_base)
    rows: set[tuple[Any, ...]] = set()
    for month in read_taken(settings):
        table = store.read_tables([ROWS_ARTEFACT.format(month=month)])
        empty = [None] * table.num_rows
        features = table["ml_a"].to_pylist() if "ml_a" in table.column_names else empty
        rows |= set(zip(table["id"].to_pylist(), table["roi"].to_pylist(), features, strict=True))
    return rows


def versions(settings: Settings) -> list[str]:
    with psycopg_connect(settings, "state") as connection:
        return [version for (version,) in connection.execute("SELECT data_version FROM takings ORDER BY id")]


def until(settings: Settings, seconds: float, takings: int) -> Callable[[], bool]:
    """Go on for so long, and on a slow machine until so many takings have happened; never past `LONGEST`."""
    began = time.monotonic()
    looked, enough = [began], [False]

    def go_on() -> bool:
        now = time.monotonic()
        if not enough[0] and now - looked[0] > 0.5:
            looked[0] = now
            enough[0] = taken_so_far(settings) >= takings
        return now - began < (seconds if enough[0] else LONGEST)

    return go_on


def taken_so_far(settings: Settings) -> int:
    """How many takings there were; 0 before the first, when there is no table of them."""
    return len(versions(settings)) if read_taken(settings) else 0


def fire(settings: Settings, mode: str, writers: int, seconds: float, takings: int) -> None:
    """Writers, and a ticker that is killed again and again; then ticks until nothing is new, and the reckoning."""
    settings = settings.model_copy(update={"reconcile_minutes": 1e6})
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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ticker:
        assert ticker.stdout is not None and ticker.stdout.readline() == "ready\n"
        written = write(settings, writers, until(settings, seconds, takings), hidden=complete)
        kills = int(ticker.communicate()[0])
    assert ticker.returncode == 0
    ticks = 1
    while tick(settings, complete=complete).changed:
        ticks += 1
        assert ticks < 5, "nothing is written any more, and still something is new"
    there, taken, runs = table_content(settings), taken_content(settings), versions(settings)
    twice = sum(before == after for before, after in pairwise(runs))
    print(
        f"\n{mode}: {written.rows} rows inserted, {written.updates} updated, {written.deletes} deleted, "
        f"{written.late_features} late features, {len(written.commits)} transactions committed "
        f"({written.out_of_order} out of order), {written.rolled_back} rolled back, {written.savepoints} savepoints; "
        f"{kills} kills, {len(runs)} takings; missed {len(there - taken)}, gone but kept {len(taken - there)}, "
        f"taken twice {twice}"
    )
    assert written.out_of_order > 0 and kills > 0 and len(runs) >= takings
    assert (len(there - taken), len(taken - there), twice) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["complete", pytest.param("glance", marks=pytest.mark.slow)])
def test_under_fire_no_row_is_missed_and_none_taken_twice(environment: Settings, mode: str) -> None:
    fire(environment, mode, writers=4, seconds=4, takings=3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["glance", "complete"])
def test_under_long_fire_no_row_is_missed_and_none_taken_twice(environment: Settings, mode: str) -> None:
    fire(environment, mode, writers=8, seconds=40, takings=20)
