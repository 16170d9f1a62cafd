"""The cursor of the sensor `new_rows`. Losing it costs one full comparison, and the age of the pending rows."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from cleverbetter_dagster.services.ingest.change_detection import (
    DetectedChanges,
    all_changes,
    newest_with_rows,
    recent_changes,
)
from cleverbetter_dagster.services.ingest.retrain_policy import PendingRows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.source.load_log import (
    LoadedMonth,
    TrainingSnapshot,
    content_hash,
    last_training_snapshot,
    read_load_log,
)


@dataclass(frozen=True)
class PendingMonth(PendingRows):
    """A changed month that is not loaded yet.

    Attributes:
        loaded_by: the run that last loaded the month at that time. When another run loads it, it is no longer pending.
        seen: what the month held at the last full comparison; None if it changed after that.
        rows_seen: how many of `rows` had changed by then.
    """

    loaded_by: str
    seen: LoadedMonth | None = None
    rows_seen: int = 0


class Cursor(BaseModel):
    """What one poll hands to the next, as JSON.

    Attributes:
        compared_at: when all months were compared last; `compared_state` names what the tables held then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compared_at: datetime | None = None
    compared_state: str = ""
    pending: dict[str, PendingMonth] = {}

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """The cursor in `text`; an empty one if there is none, or one of another version."""
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:
            return cls()


@dataclass(frozen=True)
class TrainingStatus:
    """How far training is behind the rows.

    Attributes:
        as_of: newest month that has rows in the tables; None without any. `loaded_as_of`: of those loaded.
        trained: the run that trained on exactly the loaded rows as of that month; None if there is none.
        data_version: names the state of the tables and of the load log; each state has its own name.
    """

    as_of: str | None
    loaded_as_of: str | None
    trained: TrainingSnapshot | None
    data_version: str


def poll(
    settings: Settings, cursor: Cursor, now: datetime, *, complete: bool = False
) -> tuple[DetectedChanges, Cursor]:
    """What changed since the last poll: in recent rows, or in all months if that is asked for or due.

    Raises:
        CleverBetterError: as `recent_changes`.
    """
    last = cursor.compared_at
    if complete or last is None or not last <= now < last + timedelta(minutes=settings.reconcile_minutes):
        changes = all_changes(settings)
    else:
        changes = recent_changes(settings, {month: old.seen for month, old in cursor.pending.items() if old.seen})
    before = _still_pending(cursor, changes)
    if not changes.complete:
        grown = {month: _grown(before.get(month), rows, changes, month, now) for month, rows in changes.changed.items()}
        return changes, cursor.model_copy(update={"pending": {**before, **grown}})
    pending = {
        month: PendingMonth(
            rows=rows,
            # If the clock was set back, the rows do not wait until it has caught up.
            since=min(before[month].since, now) if month in before else now,
            loaded_by=changes.months[month].run_id,
            seen=changes.months[month],
            rows_seen=rows,
        )
        for month, rows in changes.changed.items()
    }
    as_of = newest_with_rows(changes.months)
    state = f"{as_of} {content_hash(changes.months, as_of)}" if as_of else "no rows"
    return changes, Cursor(compared_at=now, compared_state=state, pending=pending)


def training_status(settings: Settings, changes: DetectedChanges, cursor: Cursor) -> TrainingStatus:
    """Whether a run has trained on the loaded rows, and the name of the present state."""
    latest, loaded = last_training_snapshot(settings), read_load_log(settings)
    as_of = newest_with_rows(loaded)
    trained = last_training_snapshot(settings, as_of, content_hash(loaded, as_of)) if as_of else None
    newer = "" if changes.complete or not changes.changed else " and newer rows"
    version = f"{cursor.compared_state}{newer} after training {latest.id if latest else 0}"
    return TrainingStatus(newest_with_rows(changes.months), as_of, trained, version)


def _still_pending(cursor: Cursor, changes: DetectedChanges) -> dict[str, PendingMonth]:
    loaded_by = {month: loaded.run_id for month, loaded in changes.months.items()}
    return {
        month: pending for month, pending in cursor.pending.items() if pending.loaded_by == loaded_by.get(month, "")
    }


def _grown(before: PendingMonth | None, rows: int, changes: DetectedChanges, month: str, now: datetime) -> PendingMonth:
    """A month with `rows` more changed rows than the last full comparison saw."""
    if before is None:
        loaded = changes.months.get(month)
        return PendingMonth(rows=rows, since=now, loaded_by=loaded.run_id if loaded else "")
    return replace(before, rows=before.rows_seen + rows, since=min(before.since, now))
