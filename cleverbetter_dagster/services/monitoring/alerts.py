"""Alerts: decisions about champions, failed checks, stale champions and predictions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.table import LedgerEntry

MOST_DECISIONS = 100
LONGEST_TEXT = 600

ACTIONS = {"promoted": "Promoted", "refused": "Refused", "rolled_back": "Rolled back to"}


class Alert(BaseModel):
    """One alert about an asset."""

    model_config = ConfigDict(frozen=True)

    kind: str
    asset: str
    text: str
    as_of: str | None = None
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class AlertCursor(BaseModel):
    """The last decision and event that were seen, and by channel the alerts that it has not taken yet."""

    model_config = ConfigDict(frozen=True)

    decision_id: int
    event_id: int
    waiting: Mapping[str, tuple[Alert, ...]] = {}

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The cursor in `text`; None if there is none, or one of another release."""
        try:
            return cls.model_validate_json(text or "")
        except ValidationError:
            return None


def last_decision(settings: Settings) -> int:
    """Id of the newest row of the ledger; 0 if it is empty."""
    entries = ledger.history(settings, 1)
    return entries[0].id if entries else 0


def decision_alerts(settings: Settings, after: int) -> list[Alert]:
    """The decisions recorded after the ledger's row `after`, oldest first."""
    entries = [entry for entry in ledger.history(settings, MOST_DECISIONS) if entry.id > after]
    return [_alert_of(entry) for entry in reversed(entries)]


def shortened(text: str) -> str:
    """At most `LONGEST_TEXT` characters of a text.

    >>> len(shortened("word " * 1000)) <= LONGEST_TEXT
    True
    """
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 2].rsplit(" ", 1)[0] + " …"


def _alert_of(entry: LedgerEntry) -> Alert:
    text = f"{ACTIONS[entry.action]} {entry} as of {entry.as_of}, by {entry.actor}. {entry.reason}"
    return Alert(kind=entry.action, asset="champion", text=shortened(text), as_of=entry.as_of)
