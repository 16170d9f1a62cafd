"""What a watcher remembers from one look at the tables to the next: little, and nothing that may not be lost.

Without its memory it compares everything once and knows the same again, but for how long rows have waited.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from cleverbetter_dagster.services.landing import Found, glance, newest_with_rows, reconcile
from cleverbetter_dagster.services.retraining import Waiting
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.taken import Taking, data_version, last_taking, read_taken


class Noted(BaseModel):
    """A changed month: about how many rows, since when that is known, and which run had loaded the month then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    since: datetime
    loaded_by: str


class Memory(BaseModel):
    """What is remembered; a sensor's cursor holds it as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reconciled_at: datetime | None = None
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
    due = complete or last is None or not last <= now < last + every
    found = reconcile(settings) if due else glance(settings)
    loaded_by = {month: taken.run_id for month, taken in found.months.items()}
    still = {month: noted for month, noted in memory.noted.items() if noted.loaded_by == loaded_by.get(month, "")}
    noted = {} if found.complete else dict(still)
    for month, rows in found.changed.items():
        # The clock may have been set back, and nobody is to wait for it to catch up.
        since = min(still[month].since, now) if month in still else now
        rows = rows if found.complete or month not in still else max(rows, still[month].rows)
        noted[month] = Noted(rows=rows, since=since, loaded_by=loaded_by.get(month, ""))
    return found, Memory(reconciled_at=now if found.complete else last, noted=noted)


def standing(settings: Settings, found: Found) -> Standing:
    """Whether the rows that are loaded have been trained on, and the name of what was found."""
    latest = last_taking(settings)
    loaded = read_taken(settings)
    loaded_as_of = newest_with_rows(loaded)
    taking = last_taking(settings, loaded_as_of, data_version(loaded, loaded_as_of)) if loaded_as_of else None
    newest = newest_with_rows(found.months)
    version = data_version(found.months, newest) if newest else "nothing"
    return Standing(newest, loaded_as_of, taking, f"{newest} {version} after {latest.id if latest else 0}")
