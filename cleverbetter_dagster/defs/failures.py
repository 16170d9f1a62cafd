"""How errors become failures of a step: passing faults are tried again with back-off, everything else at once not.

Bad data, bad settings and bugs do not pass by waiting.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg
from sqlalchemy.exc import OperationalError

from cleverbetter_dagster.errors import CleverBetterError, DatabaseUnavailable

RETRY_PASSING_FAULTS = dg.RetryPolicy(
    max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)

PASSING = (DatabaseUnavailable, psycopg.OperationalError, OperationalError, ConnectionError, TimeoutError)


@contextmanager
def clear_failures() -> Iterator[None]:
    """Around an asset's body: decides what `RETRY_PASSING_FAULTS` retries, and shows our own errors as they are."""
    try:
        yield
    except PASSING:
        raise
    except CleverBetterError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except Exception as error:
        raise dg.Failure(description=f"{type(error).__name__}: {error}", allow_retries=False) from error
