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


def failure_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the failed steps of a run said, innermost cause included, a line each."""
    lines = []
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data = entry.get_dagster_event().step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            lines.append(f"{entry.step_key}: {data.user_failure_data.description}")
        elif data.error is not None:
            lines.append(f"{entry.step_key}: {(data.error.cause or data.error).message.strip()}")
    return "\n".join(lines) or "No step failed by itself; the run's log in Dagster's UI says why."
