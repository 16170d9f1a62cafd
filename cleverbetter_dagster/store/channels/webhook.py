"""Messages to a webhook. Its address is a secret: it is never logged, nor put into an error."""

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from cleverbetter_dagster.escaping import chat_text
from cleverbetter_dagster.store.channels.silence import silent_libraries

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 5.0
TRIES_AGAIN = 2
PASSING = (429, 500, 502, 503, 504)
"""Answers after which trying again may help."""


def send_text(address: str, text: str, backoff_seconds: float = 0.5) -> str | None:
    """POST `{"text": text}` as JSON, as Slack and what is compatible with it understand.

    Tried up to three times, each try limited in time; redirects are not followed. Never raises.

    Args:
        address: an http or https URL.
        text: the message; in the chat it links to nothing and calls nobody.
        backoff_seconds: pause before the second try, doubled before the third.

    Returns:
        None if the webhook took the message (answered 2xx), else what went wrong, without the address.
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
        with silent_libraries(), requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retry))
            session.mount("https://", HTTPAdapter(max_retries=retry))
            limits = (CONNECT_SECONDS, ANSWER_SECONDS)
            answer = session.post(address, json={"text": chat_text(text)}, timeout=limits, allow_redirects=False)
    except requests.RequestException as error:
        return f"the webhook was not reached ({type(error).__name__})"
    return None if 200 <= answer.status_code < 300 else f"the webhook answered {answer.status_code}"
