"""Secrets kept out of what leaves a process: error messages, answers of the REST API, failures that Dagster stores.

Our own messages hold none. Those of the libraries below may quote an address with its password.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, unquote, urlsplit

from cleverbetter_dagster.errors import causes
from cleverbetter_dagster.setting_sources import secret_texts

HIDDEN = "***"
SHORTEST = 4
"""A shorter secret is not looked for: it would be found in ordinary words."""

_IN_ADDRESS = re.compile(r"(?<=://)([^\s/?#:@]*):[^\s/?#@]*(?=@)")
_NAMED = re.compile(r"(?i)\b((?:\w+[_-])?(?:password|passwd|pwd|passphrase|secret|token|sig)(?:_key)?)=[^\s&;,'\"]+")
_MAY_BE_A_TOKEN = re.compile(r"(?=.*[A-Z0-9%])[^.\s]{8,}")
"""Part of an address; a host has a dot, and a word of small letters would be found in ordinary text."""


def redacted(text: str) -> str:
    """Text without the secrets of this process's settings, without passwords in addresses and in `password=...`.

    >>> redacted("cannot reach http://ann:hunter2@host/x?token=abc")
    'cannot reach http://ann:***@host/x?token=***'
    """
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return _NAMED.sub(rf"\1={HIDDEN}", _IN_ADDRESS.sub(rf"\1:{HIDDEN}", text))


def message_of(error: BaseException) -> str:
    """What an error says, without secrets: how every error leaves the process.

    >>> message_of(ConnectionError("no route to http://ann:hunter2@host"))
    'no route to http://ann:***@host'
    """
    return redacted(str(error))


@contextmanager
def without_secrets() -> Iterator[None]:
    """Lets an error pass whose messages, its causes' included, hold no secret; another becomes one without it.

    The new error has the type of the old one where that can be made of a message, and its traceback.
    """
    try:
        yield
    except Exception as error:
        if all(message_of(one) == str(one) for one in causes(error)):
            raise
        raise _copy(error).with_traceback(error.__traceback__) from None


def _copy(error: Exception) -> Exception:
    message = message_of(error)
    try:
        copy = type(error)(message)
    except (TypeError, ValueError, AttributeError):  # its constructor wants something else
        return RuntimeError(f"{type(error).__name__}: {message}")
    return copy if str(copy) == message else RuntimeError(f"{type(error).__name__}: {message}")


def _secrets() -> list[str]:
    """The secrets of the environment and of the settings file, as they may be written, longest first."""
    secrets: set[str] = set()
    for field, value in secret_texts():
        secrets.update(_of_urls(value) if field == "alert_urls" else _of_value(field, value))
    return sorted((text for text in secrets if len(text) >= SHORTEST), key=len, reverse=True)


def _of_value(field: str, value: str) -> Iterator[str]:
    try:
        address = urlsplit(value)
    except ValueError:
        yield value
        return
    if field == "alert_webhook":
        yield from (value, address.path.strip("/"))
    elif not address.scheme or not (address.netloc or address.query):
        yield value
    password = address.netloc.rpartition("@")[0].partition(":")[2]
    yield from (password, unquote(password))
    for name, text in parse_qsl(address.query):
        if _NAMED.fullmatch(f"{name}=x"):
            yield text


def _of_urls(value: str) -> Iterator[str]:
    """Each URL of Apprise, and its parts that are no plain word or host: a token may stand anywhere in it."""
    for url in value.split():
        rest = url.partition("://")[2]
        yield url
        tokens = [part for part in re.split(r"[/?&=:@]", rest) if _MAY_BE_A_TOKEN.fullmatch(part)]
        password = rest.rpartition("@")[0].partition(":")[2]
        for part in (*tokens, password):
            yield from (part, unquote(part))
