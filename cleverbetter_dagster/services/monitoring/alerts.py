"""Alerts: decisions about champions, failed checks, stale champions and predictions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.table import LedgerEntry
from cleverbetter_dagster.store.webhook import send_text

MOST_DECISIONS = 100
MOST_WAITING = 50
LONGEST_TEXT = 600
KEPT_HOURS = 24
"""An alert that a channel does not take is tried again for a day."""

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


def deliver(
    settings: Settings, waiting: Mapping[str, Sequence[Alert]], new: Sequence[Alert]
) -> dict[str, tuple[Alert, ...]]:
    """Send each channel in one message what waits for it and what is new. Returns what waits for each channel now.

    Alerts older than a day are dropped, and the oldest if too many wait.
    """
    left = {}
    for name, send in CHANNELS.items():
        fresh = [alert for alert in (*waiting.get(name, ()), *new) if _is_recent(alert)]
        if fresh and not send(settings, "\n".join(alert.text for alert in fresh)):
            left[name] = tuple(fresh[-MOST_WAITING:])
    return left


def to_webhook(settings: Settings, text: str) -> bool:
    """Send a text to the webhook. True if it took the text, or if none is set."""
    return settings.alert_webhook is None or send_text(settings.alert_webhook.get_secret_value(), text)


CHANNELS: Mapping[str, Callable[[Settings, str], bool]] = {"webhook": to_webhook}
"""By name: each sends a text if its setting is set, and returns whether there is nothing to send again."""


def shortened(text: str) -> str:
    """At most `LONGEST_TEXT` characters of a text.

    >>> len(shortened("word " * 1000)) <= LONGEST_TEXT
    True
    """
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 2].rsplit(" ", 1)[0] + " …"


def _is_recent(alert: Alert) -> bool:
    return datetime.now(UTC) - alert.at < timedelta(hours=KEPT_HOURS)


def _alert_of(entry: LedgerEntry) -> Alert:
    text = f"{ACTIONS[entry.action]} {entry} as of {entry.as_of}, by {entry.actor}. {entry.reason}"
    return Alert(kind=entry.action, asset="champion", text=shortened(text), as_of=entry.as_of)
