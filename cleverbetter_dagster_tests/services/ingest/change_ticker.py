"""Polls and loads in a loop, as the sensor and its runs do, in a process that may be killed at any instruction.

    python -m cleverbetter_dagster_tests.services.ingest.change_ticker recent|complete SEED

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

from cleverbetter_dagster.services.ingest.change_detection import newest_with_rows
from cleverbetter_dagster.services.ingest.dropped_history import ROWS_ARTEFACT
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.services.ingest.sensor_state import Cursor, poll
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.source.load_log import record_load


@dataclass(frozen=True)
class Tick:
    """What one tick did: whether it found changes, and the months it loaded although nothing in them had changed."""

    changed: bool
    needless: tuple[str, ...] = ()


def tick(settings: Settings, *, complete: bool) -> Tick:
    """Poll; if anything changed, load, store and record it, in the order of the asset `training_rows`.

    Args:
        complete: compare all months. Otherwise only what `recent_changes` names is loaded: it must be right alone.
    """
    file = Path(settings.home) / "cursor.json"
    cursor = Cursor.parse(file.read_text() if file.exists() else None)
    changes, cursor = poll(settings, cursor, datetime.now(UTC), complete=complete)
    _replace(file, cursor.model_dump_json())
    if not changes.changed:
        return Tick(False)
    as_of = newest_with_rows(changes.months) or max(changes.changed)
    load = load_months(settings, [as_of] if complete else sorted(changes.changed), catch_up=complete)
    store, needless = ArtefactStore(settings.artefacts_base), []
    for month, loaded in load.months.items():
        path = ROWS_ARTEFACT.format(month=month)
        if store.exists(path) and store.read_tables([path]).sort_by("id").equals(loaded.table.sort_by("id")):
            needless.append(month)
        store.write_table(path, loaded.table)
    record_load(settings, load.log, uuid.uuid4().hex, as_of)
    return Tick(True, tuple(needless))


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".part")
    beside.write_text(text)
    os.replace(beside, path)


def _forked(settings: Settings, complete: bool, loaded: mmap.mmap) -> int:
    """A process that ticks until it is killed. `loaded` is one shared byte: 1 once the process loaded anything."""
    pid = os.fork()
    if pid == 0:
        while True:
            if tick(settings, complete=complete).changed:
                loaded[0] = 1
            time.sleep(0.02)
    return pid


def main() -> None:
    """Fork, kill, fork again."""
    mode, seed = sys.argv[1:]
    chance, settings, kills = random.Random(int(seed)), load_settings(), 0
    loaded, patience = mmap.mmap(-1, 1), 1.0
    print("ready", flush=True)
    while True:
        loaded[0] = 0
        pid = _forked(settings, mode == "complete", loaded)
        ended = select.select([sys.stdin], [], [], patience * chance.choice([0.3, 1.0, 2.0, 3.0, 6.0]))[0]
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            raise SystemExit(f"the ticker ended by itself with code {os.WEXITSTATUS(status)}")
        kills += 1
        patience = 1.0 if loaded[0] else patience * 1.3  # a busy machine needs longer for a tick
        if ended:
            break
    print(kills)


if __name__ == "__main__":
    main()
