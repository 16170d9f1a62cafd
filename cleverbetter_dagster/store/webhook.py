"""Messages to a webhook. Its address is a secret: it is never logged, nor put into an error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from cleverbetter_dagster.escaping import chat_text

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 5.0
TRIES_AGAIN = 2
PASSING = (429, 500, 502, 503, 504)
"""Answers after which trying again may help."""

log = logging.getLogger(__name__)


def send_text(address: str, text: str, backoff_seconds: float = 0.5) -> bool:
    """POST `{"text": text}` as JSON, as Slack and what is compatible with it understand.

    Tried up to three times, each try limited in time; redirects are not followed. A webhook that fails is logged, by
    what went wrong and not by its address, and never raises.

    Args:
        address: an http or https URL.
        text: the message; in the chat it links to nothing and calls nobody.
        backoff_seconds: pause before the second try, doubled before the third.

    Returns:
        Whether the webhook took the message (answered 2xx).
    """
    retry = Retry(
        total=TRIES_AGAIN,
        backoff_factor=backoff_seconds,
        status_forcelist=PASSING,
        allowed_methods=None,
        respect_retry_after_header=False,  # it may ask for hours
        raise_on_status=False,
    )
    try:
        with _urllib3_silent(), requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retry))
            session.mount("https://", HTTPAdapter(max_retries=retry))
            limits = (CONNECT_SECONDS, ANSWER_SECONDS)
            answer = session.post(address, json={"text": chat_text(text)}, timeout=limits, allow_redirects=False)
    except requests.RequestException as error:
        log.warning("The alert webhook was not reached (%s); see CLEVERBETTER_ALERT_WEBHOOK.", type(error).__name__)
        return False
    if 200 <= answer.status_code < 300:
        return True
    log.warning("The alert webhook answered %s; see CLEVERBETTER_ALERT_WEBHOOK.", answer.status_code)
    return False


@contextmanager
def _urllib3_silent() -> Iterator[None]:
    """urllib3 logs requests and retries with their path, which is the secret."""
    loggers = [logging.getLogger(f"urllib3.{name}") for name in ("connectionpool", "util.retry")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
