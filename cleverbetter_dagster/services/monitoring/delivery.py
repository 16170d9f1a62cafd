"""Delivery of alerts: to all channels at once, and for each what it did not take is kept for it alone."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from time import monotonic

from cleverbetter_dagster.services.monitoring.alerts import Alert
from cleverbetter_dagster.store.channels.channel import Channel

MOST_WAITING = 50
KEPT_HOURS = 24
"""An alert that a channel does not take is tried again for a day."""

FURTHER_SECONDS = 15.0
"""After so long no further message is begun; what is left waits for the next tick."""

LONGEST_SECONDS = 45.0
"""After so long nobody waits for a channel any more: Dagster gives a sensor's tick a minute."""


def deliver(
    channels: Sequence[Channel], waiting: Mapping[str, Sequence[Alert]], new: Sequence[Alert]
) -> tuple[dict[str, tuple[Alert, ...]], list[str]]:
    """Send each channel what waits for it and what is new, in as few messages as it takes.

    Alerts older than a day are dropped, and the oldest if too many wait. A channel that does not answer costs the
    others nothing. What a channel took while nobody waited for it any more, it gets again.

    Args:
        channels: the receivers; names are unique.
        waiting: by channel, what it has not taken yet, oldest first; of channels that are gone it is dropped.
        new: what no channel has seen, oldest first.

    Returns:
        By channel what waits for it now, without those for which nothing waits; and a sentence on each channel that
        did not take all.
    """
    left = {one.name: [alert for alert in (*waiting.get(one.name, ()), *new) if _is_recent(alert)] for one in channels}
    due = [channel for channel in channels if left[channel.name]]
    if not due:
        return {}, []
    pool = ThreadPoolExecutor(len(due), thread_name_prefix="alerts")
    until = monotonic() + FURTHER_SECONDS
    sending = {channel.name: pool.submit(_send, channel, left[channel.name], until) for channel in due}
    wait(sending.values(), timeout=LONGEST_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    kept = {name: tuple(alerts[-MOST_WAITING:]) for name, alerts in left.items() if alerts}
    troubles = []
    for channel in due:
        one = sending[channel.name]
        trouble = one.result() if one.done() and not one.cancelled() else f"no answer within {LONGEST_SECONDS:g} s"
        if channel.name in kept:
            count = len(kept[channel.name])
            why = trouble or "there was no time for more messages"
            troubles.append(f"{count} alerts wait for {channel.name}: {why}; see {channel.setting}.")
    return kept, troubles


def _send(channel: Channel, left: list[Alert], until: float) -> str | None:
    """Send in messages and take from `left` what was taken. None, or what went wrong with the one that was not."""
    for message in list(_messages(channel, left)):
        if trouble := channel.send("\n".join(alert.text for alert in message)):
            return trouble
        del left[: len(message)]
        if monotonic() > until:
            break
    return None


def _messages(channel: Channel, alerts: Sequence[Alert]) -> Iterator[list[Alert]]:
    """The alerts, as many together as one message may have characters, at least one."""
    message: list[Alert] = []
    for alert in alerts:
        if message and sum(len(one.text) + 1 for one in [*message, alert]) > channel.longest_text:
            yield message
            message = []
        message.append(alert)
    if message:
        yield message


def _is_recent(alert: Alert) -> bool:
    return datetime.now(UTC) - alert.at < timedelta(hours=KEPT_HOURS)
