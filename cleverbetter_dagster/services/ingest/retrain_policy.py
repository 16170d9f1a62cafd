"""Decides when new rows are worth a training run, from facts alone: no clock, no database, no Dagster.

Models are always updated at the newest month that has rows, whichever months changed, because that model learns from
all months up to it. The model of an earlier as_of only serves to judge the past (a walk-forward study).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=1)
"""Back-off after failed runs: doubled with each, up to the longest."""

UNCHANGED_DELAY = timedelta(days=1)
"""Back-off after a failure that waiting cannot cure, while the rows are still the same."""

MONTHS_NAMED = 6


@dataclass(frozen=True)
class PendingRows:
    """Changed rows of a month that no run has loaded: about how many, and since when that is known."""

    rows: int
    since: datetime


@dataclass(frozen=True)
class PastRun:
    """A run that was requested for new rows, or that trains now.

    Attributes:
        data_version: the state of the tables and of the load log that it was requested for.
        needs_change: it failed for a reason that waiting cannot cure, or a person ended it.
        update_impossible: an incremental update was impossible; a full training is needed.
    """

    run_id: str
    job: str
    status: Literal["active", "succeeded", "failed"]
    ended_at: datetime | None = None
    data_version: str | None = None
    needs_change: bool = False
    update_impossible: bool = False

    def __str__(self) -> str:
        return f"{self.job} {self.run_id[:8]}"


@dataclass(frozen=True)
class RetrainPolicy:
    """How many new rows are worth a run, and how long fewer rows may wait for one."""

    min_rows: int
    longest_wait: timedelta


@dataclass(frozen=True)
class RetrainSituation:
    """The facts that a decision rests on.

    Attributes:
        pending: month -> rows that are not loaded yet.
        untrained: no successful run has trained on the rows that are loaded.
        data_version: names the state of the tables and of the load log; each state has its own name.
        active: training runs that are running or queued.
        requested: ended runs that were requested for new rows, newest first.
    """

    pending: Mapping[str, PendingRows]
    untrained: bool
    data_version: str
    active: Sequence[PastRun]
    requested: Sequence[PastRun]


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to request a run, why, how many runs in a row failed before it, and whether it must train in full."""

    request: bool
    reason: str
    attempt: int = 0
    full: bool = False


def decide_retraining(situation: RetrainSituation, policy: RetrainPolicy, now: datetime) -> RetrainDecision:
    """Whether to train on the pending rows now. A clock that was set back makes no run wait longer."""
    rows = described(situation.pending)
    if situation.active:
        runs = ", ".join(map(str, situation.active))
        are = "are" if len(situation.active) > 1 else "is"
        return RetrainDecision(
            False, f"{rows}. {runs} {are} running or queued; the next run takes what is pending then."
        )
    if not situation.pending and not situation.untrained:
        return RetrainDecision(False, f"{rows}: the models are trained on all rows.")
    if not situation.untrained and (waits := _wait_for_rows(situation.pending, policy, now)):
        return RetrainDecision(False, f"{rows}. {waits}")
    failed = list(takewhile(lambda run: run.status == "failed", situation.requested))
    if failed and (waits := _back_off(failed, situation.data_version, now)):
        return RetrainDecision(False, f"{rows}. {waits}")
    if not situation.pending:
        rows = "No successful run has trained on the loaded rows"
    if blocked := next((run for run in failed if run.update_impossible), None):
        reason = f"{rows}; {blocked} could not update the models, so a full training is requested."
        return RetrainDecision(True, reason, len(failed), full=True)
    return RetrainDecision(True, f"{rows}; a run is requested.", len(failed))


def described(pending: Mapping[str, PendingRows]) -> str:
    """The beginning of a sentence about the pending rows.

    >>> described({"2023-12": PendingRows(40, datetime(2024, 1, 1)), "2023-11": PendingRows(2, datetime(2024, 1, 1))})
    '42 new or changed rows are pending (2023-11: 2, 2023-12: 40)'
    """
    if not pending:
        return "Nothing changed"
    named = [f"{month}: {pending[month].rows:,}" for month in sorted(pending)]
    if len(named) > MONTHS_NAMED:
        named = [*named[: MONTHS_NAMED - 1], "...", named[-1], f"{len(named)} months"]
    total = sum(month.rows for month in pending.values())
    return f"{total:,} new or changed row{'s are' if total > 1 else ' is'} pending ({', '.join(named)})"


def _wait_for_rows(pending: Mapping[str, PendingRows], policy: RetrainPolicy, now: datetime) -> str | None:
    """What the pending rows wait for; None if they are enough or have waited long enough."""
    rows = sum(month.rows for month in pending.values())
    deadline = min(month.since for month in pending.values()) + policy.longest_wait
    if rows >= policy.min_rows or now >= deadline:
        return None
    return f"A run starts at {policy.min_rows:,} rows, or at {deadline:%Y-%m-%d %H:%M:%S} UTC."


def _back_off(failed: Sequence[PastRun], data_version: str, now: datetime) -> str | None:
    last = failed[0]
    if last.ended_at is None or now < last.ended_at:
        return None
    delay = min(FIRST_DELAY * 2 ** min(len(failed) - 1, 20), LONGEST_DELAY)
    cause = "the fault may pass"
    if last.needs_change and last.data_version == data_version and not last.update_impossible:
        delay, cause = UNCHANGED_DELAY, "waiting does not cure the fault, and the rows are the same"
    again = last.ended_at + delay
    if now >= again:
        return None
    runs = "run" if len(failed) == 1 else f"{len(failed)} runs"
    return f"The last {runs} failed ({last.run_id[:8]}: {cause}); the next try is at {again:%Y-%m-%d %H:%M:%S} UTC."
