"""Silence of the libraries that send: they log requests with their path, which is the secret."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

KEPT_APART = "apprise"
"""A logger whose records are captured as part of a result, and go nowhere else."""

LOUD = (
    "oauthlib",
    "requests_oauthlib.oauth1_auth",
    "requests_oauthlib.oauth2_session",
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
"""Loggers that write addresses."""

_silent: ContextVar[bool] = ContextVar("silent", default=False)


def _passes(_: logging.LogRecord) -> bool:
    return not _silent.get()


@contextmanager
def silent_libraries() -> Iterator[None]:
    """What these libraries log in this thread goes nowhere; other threads go on as before."""
    for name in LOUD:
        logging.getLogger(name).addFilter(_passes)  # a filter that is there already is not added again
    logging.getLogger(KEPT_APART).propagate = False
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)
