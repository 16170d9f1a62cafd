"""What a watcher remembers from one look at the tables to the next: little, and nothing that may not be lost.

Without its memory it compares everything once and knows the same again, but for how long rows have waited.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from cleverbetter_dagster.services.ingest.change_detection import Found, glance, newest_with_rows, reconcile
from cleverbetter_dagster.services.ingest.retrain_policy import Waiting
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.source.load_log import MonthTaken, Taking, data_version, last_taking, read_taken


class Noted(BaseModel):
    """A changed month that is not loaded yet.

    Attributes:
        rows: about how many of its rows changed.
        since: when that was first seen.
        loaded_by: the run that had loaded the month by then; when another has, there is nothing to remember.
        seen: what the month held when all contents were compared last; None when it changed after that.
        rows_seen: how many of `rows` were changed by then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    since: datetime
    loaded_by: str
    seen: MonthTaken | None = None
    rows_seen: int = 0


class Memory(BaseModel):
    """What is remembered; a sensor's cursor holds it as JSON.

    Attributes:
        state: names what the tables held when all contents were compared last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reconciled_at: datetime | None = None
    state: str = ""
    noted: dict[str, Noted] = {}

    @classmethod
    def parse(cls, text: str | None) -> "Memory":
        """The memory in `text`; an empty one where there is none, or one of another version."""
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:
            return cls()

    @property
    def waiting(self) -> dict[str, Waiting]:
        """The months that changed and were not loaded since."""
        return {month: Waiting(noted.rows, noted.since) for month, noted in self.noted.items()}


@dataclass(frozen=True)
class Standing:
    """How far training is behind the rows that are loaded.

    Attributes:
        as_of: newest month that has rows in the tables, None without any; `loaded_as_of`: of those loaded.
        taking: the run that trained on just these rows as of that month, None where none did.
        landing: names the state of the tables and of what was taken; another state has another name.
    """

    as_of: str | None
    loaded_as_of: str | None
    taking: Taking | None
    landing: str


def observe(settings: Settings, memory: Memory, now: datetime, *, complete: bool = False) -> tuple[Found, Memory]:
    """Look at the tables: a glance, or all contents where that is asked for or due.

    Raises:
        CleverBetterError: as `glance`.
    """
    every = timedelta(minutes=settings.reconcile_minutes)
    last = memory.reconciled_at
    if complete or last is None or not last <= now < last + every:
        found = reconcile(settings)
    else:
        found = glance(settings, {month: noted.seen for month, noted in memory.noted.items() if noted.seen})
    kept = _not_loaded_since(memory, found)
    if not found.complete:
        grown = {month: _more(kept.get(month), rows, found, month, now) for month, rows in found.changed.items()}
        return found, memory.model_copy(update={"noted": {**kept, **grown}})
    noted = {
        month: Noted(
            rows=rows,
            # The clock may have been set back, and nobody is to wait for it to catch up.
            since=min(kept[month].since, now) if month in kept else now,
            loaded_by=found.months[month].run_id,
            seen=found.months[month],
            rows_seen=rows,
        )
        for month, rows in found.changed.items()
    }
    return found, Memory(reconciled_at=now, state=_state(found), noted=noted)


def standing(settings: Settings, found: Found, memory: Memory) -> Standing:
    """Whether the rows that are loaded have been trained on, and the name of what was found."""
    latest, loaded = last_taking(settings), read_taken(settings)
    as_of = newest_with_rows(loaded)
    taking = last_taking(settings, as_of, data_version(loaded, as_of)) if as_of else None
    newer = "" if found.complete or not found.changed else " and newer rows"
    landing = f"{memory.state}{newer} after {latest.id if latest else 0}"
    return Standing(newest_with_rows(found.months), as_of, taking, landing)


def _state(found: Found) -> str:
    as_of = newest_with_rows(found.months)
    return f"{as_of} {data_version(found.months, as_of)}" if as_of else "no rows"


def _not_loaded_since(memory: Memory, found: Found) -> dict[str, Noted]:
    loaded_by = {month: taken.run_id for month, taken in found.months.items()}
    return {month: noted for month, noted in memory.noted.items() if noted.loaded_by == loaded_by.get(month, "")}


def _more(before: Noted | None, rows: int, found: Found, month: str, now: datetime) -> Noted:
    """A month in which a glance found `rows` beyond those seen when all contents were compared."""
    if before is None:
        taken = found.months.get(month)
        return Noted(rows=rows, since=now, loaded_by=taken.run_id if taken else "")
    return before.model_copy(update={"rows": before.rows_seen + rows, "since": min(before.since, now)})
