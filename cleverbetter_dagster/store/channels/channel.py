"""A channel: one receiver of alerts. The list of them is what the settings name."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.store.channels.apprise_url import send_by_apprise
from cleverbetter_dagster.store.channels.webhook import send_text

DIGITS = 4
"""Hexadecimal digits that tell URLs of one kind apart: too few to confirm a password that was guessed."""

LONGEST_IN_WEBHOOK = 30_000
LONGEST_BY_URL = 1_500
"""What chats take at once. A shorter message of several parts could arrive in part and be sent again."""


@dataclass(frozen=True)
class Channel:
    """One receiver.

    Attributes:
        name: stays the same as long as its address does; holds no secret.
        setting: the variable that has its address.
        longest_text: characters that are sent together, at most.
        send: sends a text. None if it was taken, else what went wrong, without a secret. Never raises.
    """

    name: str
    setting: str
    longest_text: int
    send: Callable[[str], str | None]


def channels_of(settings: Settings) -> list[Channel]:
    """The receivers that the settings name: the webhook, and each URL of Apprise."""
    found = []
    if settings.alert_webhook is not None:
        send = partial(send_text, settings.alert_webhook.get_secret_value())
        found.append(Channel("webhook", variable_of("alert_webhook"), LONGEST_IN_WEBHOOK, send))
    names: Counter[str] = Counter()
    for url in (secret.get_secret_value() for secret in settings.alert_urls):
        name = f"{url.partition(':')[0].lower()}-{sha256(url.encode()).hexdigest()[:DIGITS]}"
        names[name] += 1
        unique = name if names[name] == 1 else f"{name}-{names[name]}"
        found.append(Channel(unique, variable_of("alert_urls"), LONGEST_BY_URL, partial(send_by_apprise, url)))
    return found
