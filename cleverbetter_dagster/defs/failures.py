"""How errors become failures of a step: transient faults are tried again later, everything else fails at once.

Waiting cures no wrong data, no wrong settings and no bugs.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg

from cleverbetter_dagster.defs.stored_metadata import stored_metadata
from cleverbetter_dagster.errors import (
    ArtefactsUnavailable,
    CleverBetterError,
    DatabaseUnavailable,
    TrackingUnavailable,
)
from cleverbetter_dagster.redaction import without_secrets
from cleverbetter_dagster.store.postgres.transient import is_transient

Result = TypeVar("Result")

RETRY_TRANSIENT_FAULTS = dg.RetryPolicy(
    max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)

TRANSIENT = (DatabaseUnavailable, TrackingUnavailable, ArtefactsUnavailable, ConnectionError, TimeoutError)
"""Errors that are tried again, beside those of PostgreSQL that `is_transient` knows."""


@contextmanager
def step_failures() -> Iterator[None]:
    """Lets `RETRY_TRANSIENT_FAULTS` retry transient faults; turns every other error into a failure with its message."""
    try:
        with own_errors_are_final():
            yield
    except (dg.Failure, *TRANSIENT):
        raise
    except Exception as error:
        if is_transient(error):
            raise
        raise dg.Failure(description=f"{type(error).__name__}: {error}", allow_retries=False) from error


@contextmanager
def own_errors_are_final() -> Iterator[None]:
    """Turns our own errors into failures that are not retried; other errors pass, such as those of a storage.

    Dagster stores what leaves here, so it holds no secret.
    """
    try:
        with without_secrets():
            yield
    except TRANSIENT:
        raise
    except CleverBetterError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def each_month(
    context: dg.AssetExecutionContext,
    results: Iterable[tuple[str, Result]],
    metadata: Callable[[Result], dict[str, Any]],
) -> dict[str, Result]:
    """The results of an asset by month, each with its metadata in the UI.

    Args:
        results: months with their results. Errors while they are computed fail as in `step_failures`.
        metadata: of one result.
    """
    by_month: dict[str, Result] = {}
    with step_failures():
        for month, result in results:
            context.add_asset_metadata(stored_metadata(metadata(result)), partition_key=month)
            by_month[month] = result
    return by_month


def failure_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """The messages of a run's failed steps, one line each, with the innermost cause."""
    lines = []
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failure = entry.get_dagster_event().step_failure_data
        if failure.user_failure_data and failure.user_failure_data.description:
            lines.append(f"{entry.step_key}: {failure.user_failure_data.description}")
        elif failure.error is not None:
            lines.append(f"{entry.step_key}: {(failure.error.cause or failure.error).message.strip()}")
    return "\n".join(lines) or "No step failed by itself; the run's log in Dagster's UI says why."
