"""Looks and loads in a loop, as sensor and run do between them, in a process that may be killed at any instruction.

    python -m cleverbetter_dagster_tests.services.ingest.change_ticker glance|complete SEED

Kills and starts itself anew until its standard input ends; prints how often it was killed.
"""

import mmap
import os
import random
import select
import signal
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cleverbetter_dagster.services.ingest.change_detection import ROWS_ARTEFACT, newest_with_rows
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.services.ingest.sensor_state import Memory, observe
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.source.load_log import record_taken


@dataclass(frozen=True)
class Tick:
    """What one tick did: whether it found anything, and the months it loaded though they held the same already."""

    changed: bool
    needless: tuple[str, ...] = ()


def tick(settings: Settings, *, complete: bool) -> Tick:
    """Look; if anything changed, load, store and take it, in the order of the asset `training_rows`.

    Args:
        complete: what is found lately is confirmed, and completed, by comparing all contents. Otherwise only what
            the glance itself names is loaded: it has to stand alone.
    """
    cursor = Path(settings.home) / "cursor.json"
    memory = Memory.parse(cursor.read_text() if cursor.exists() else None)
    found, memory = observe(settings, memory, datetime.now(UTC), complete=complete)
    _replace(cursor, memory.model_dump_json())
    if not found.changed:
        return Tick(False)
    as_of = newest_with_rows(found.months) or max(found.changed)
    load = load_months(settings, [as_of] if complete else sorted(found.changed), catch_up=complete)
    store, needless = ArtefactStore(settings.artefacts_base), []
    for month, loaded in load.months.items():
        path = ROWS_ARTEFACT.format(month=month)
        if store.exists(path) and store.read_tables([path]).sort_by("id").equals(loaded.table.sort_by("id")):
            needless.append(month)
        store.write_table(path, loaded.table)
    record_taken(settings, load.taken, uuid.uuid4().hex, as_of)
    return Tick(True, tuple(needless))


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".part")
    beside.write_text(text)
    os.replace(beside, path)


def _forked(settings: Settings, complete: bool, taken: mmap.mmap) -> int:
    """A process that ticks until it is killed; the one byte of `taken`, shared with it, is 1 once it took anything."""
    pid = os.fork()
    if pid == 0:
        while True:
            if tick(settings, complete=complete).changed:
                taken[0] = 1
            time.sleep(0.02)
    return pid


def main() -> None:
    """Fork, kill, fork again."""
    mode, seed = sys.argv[1:]
    chance, settings, kills = random.Random(int(seed)), load_settings(), 0
    taken, patience = mmap.mmap(-1, 1), 1.0
    print("ready", flush=True)
    while True:
        taken[0] = 0
        pid = _forked(settings, mode == "complete", taken)
        ended = select.select([sys.stdin], [], [], patience * chance.choice([0.3, 1.0, 2.0, 3.0, 6.0]))[0]
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            raise SystemExit(f"the ticker ended by itself with code {os.WEXITSTATUS(status)}")
        kills += 1
        patience = 1.0 if taken[0] else patience * 1.3  # a busy machine needs longer for a tick
        if ended:
            break
    print(kills)


if __name__ == "__main__":
    main()
