"""The heartbeat: a message to every channel every so many hours as long as all is well."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cleverbetter_dagster.services.champion.renewal import stakes_line
from cleverbetter_dagster.services.monitoring.alerts import Alert
from cleverbetter_dagster.services.monitoring.delivery import deliver
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.channels.channel import Channel
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.predictions import read_predictions


class HeartbeatCursor(BaseModel):
    """By channel, when it took the last heartbeat."""

    model_config = ConfigDict(frozen=True)

    taken: Mapping[str, datetime] = {}

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """The cursor in `text`; an empty one if there is none, or one of another release."""
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:
            return cls()


def due_channels(cursor: HeartbeatCursor, channels: Sequence[Channel], hours: int, now: datetime) -> list[Channel]:
    """The channels that took no heartbeat in the last `hours`."""
    long_ago = now - timedelta(hours=hours)
    return [channel for channel in channels if cursor.taken.get(channel.name, long_ago) <= long_ago]


def stakes_trouble(settings: Settings) -> str | None:
    """Why there are no stakes now; None if there are."""
    champion = ledger.champion(settings)
    return stakes_line(settings) if champion is None or read_predictions(settings).empty else None


def beat(
    cursor: HeartbeatCursor, channels: Sequence[Channel], text: str, now: datetime
) -> tuple[HeartbeatCursor, list[str]]:
    """Send a heartbeat to the channels that are due.

    Returns:
        When each channel took one, and a sentence on each that did not; it is due again at the next tick.
    """
    waiting, troubles = deliver(channels, {}, [Alert(kind="heartbeat", asset="champion", text=text)])
    taken = {channel.name: now for channel in channels if channel.name not in waiting}
    return HeartbeatCursor(taken={**cursor.taken, **taken}), troubles


def heartbeat_text(settings: Settings, ended: int, hours: int) -> str:
    """What a heartbeat says; `ended` is the number of runs that ended in the last `hours`."""
    now = datetime.now(UTC)
    runs = f"{ended} {'run' if ended == 1 else 'runs'} ended in the last {hours} h, and no job's last one failed."
    return f"All is well at {now:%Y-%m-%d %H:%M} UTC. {stakes_line(settings)} {runs}"
