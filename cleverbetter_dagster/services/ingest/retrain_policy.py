"""When new rows are worth a run: a decision made from facts alone, without a clock, a database or Dagster.

Models are updated at the newest month that has rows, whichever months changed: its model learns from all months up
to it. The model of an earlier as_of is for judging the past (a walk-forward study), and nobody bets on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=1)
"""Back-off after failed runs: doubled with each, up to the longest."""

UNCHANGED_DELAY = timedelta(days=1)
"""After a failure that waiting does not cure, while the rows are still those it failed on."""

MONTHS_NAMED = 6


@dataclass(frozen=True)
class Waiting:
    """Changed rows of a month that no run has loaded: how many, and since when that is known."""

    rows: int
    since: datetime


@dataclass(frozen=True)
class PastRun:
    """A run that was requested for new rows, or that trains now.

    Attributes:
        landing: what it was requested for.
        needs_change: it failed for a reason that does not pass by waiting, or a person ended it.
        could_not_go_on: it was to update models, and one of them could not be gone on from.
    """

    run_id: str
    job: str
    status: Literal["active", "succeeded", "failed"]
    ended_at: datetime | None = None
    landing: str | None = None
    needs_change: bool = False
    could_not_go_on: bool = False


@dataclass(frozen=True)
class Policy:
    """When rows that landed are worth a run."""

    min_rows: int
    longest_wait: timedelta


@dataclass(frozen=True)
class Situation:
    """All a decision is made from.

    Attributes:
        waiting: month -> rows not loaded yet.
        untrained: the rows that are loaded were never taken by a training run that succeeded.
        landing: names the state of the tables and of what was taken; another state has another name.
        active: runs that train now or are queued to.
        requested: runs requested for new rows, newest first.
    """

    waiting: Mapping[str, Waiting]
    untrained: bool
    landing: str
    active: Sequence[PastRun]
    requested: Sequence[PastRun]


@dataclass(frozen=True)
class Verdict:
    """Whether a run is requested, why, how many in a row failed before it, and whether it has to train in full."""

    request: bool
    reason: str
    attempt: int = 0
    full: bool = False


def decide(situation: Situation, policy: Policy, now: datetime) -> Verdict:
    """What to do about the rows that wait. A clock set back makes nobody wait longer."""
    rows = described(situation.waiting)
    if situation.active:
        runs = ", ".join(f"{run.job} {run.run_id[:8]}" for run in situation.active)
        are = "are" if len(situation.active) > 1 else "is"
        return Verdict(False, f"{rows}. {runs} {are} at work or queued; what waits then is for the next run.")
    if not situation.waiting and not situation.untrained:
        return Verdict(False, f"{rows}: models are trained on all rows there are.")
    if not situation.untrained and (patience := _patience(situation.waiting, policy, now)):
        return Verdict(False, f"{rows}. {patience}")
    failed = list(takewhile(lambda run: run.status == "failed", situation.requested))
    if failed and (wait := _back_off(failed, situation.landing, now)):
        return Verdict(False, f"{rows}. {wait}")
    if not situation.waiting:
        rows = "The loaded rows were never trained on with success"
    if stuck := next((run for run in failed if run.could_not_go_on), None):
        why = f"{stuck.job} {stuck.run_id[:8]} could not go on from the models there are"
        return Verdict(True, f"{rows}; {why}, so a full training is requested.", len(failed), full=True)
    return Verdict(True, f"{rows}; a run is requested.", len(failed))


def described(waiting: Mapping[str, Waiting]) -> str:
    """The rows that wait, in a sentence's beginning.

    >>> described({"2023-12": Waiting(40, datetime(2024, 1, 1)), "2023-11": Waiting(2, datetime(2024, 1, 1))})
    '42 new or changed rows wait (2023-11: 2, 2023-12: 40)'
    """
    if not waiting:
        return "Nothing changed"
    named = [f"{month}: {waiting[month].rows:,}" for month in sorted(waiting)]
    if len(named) > MONTHS_NAMED:
        named = [*named[: MONTHS_NAMED - 1], "...", named[-1], f"{len(named)} months"]
    total = sum(month.rows for month in waiting.values())
    return f"{total:,} new or changed row{'s wait' if total > 1 else ' waits'} ({', '.join(named)})"


def _patience(waiting: Mapping[str, Waiting], policy: Policy, now: datetime) -> str | None:
    """What is still waited for; None where the rows are enough or have waited long enough."""
    rows = sum(month.rows for month in waiting.values())
    deadline = min(month.since for month in waiting.values()) + policy.longest_wait
    if rows >= policy.min_rows or now >= deadline:
        return None
    return f"A run is worth its cost from {policy.min_rows:,} rows on, or at {deadline:%Y-%m-%d %H:%M:%S} UTC."


def _back_off(failed: Sequence[PastRun], landing: str, now: datetime) -> str | None:
    last = failed[0]
    if last.ended_at is None or now < last.ended_at:
        return None
    delay = min(FIRST_DELAY * 2 ** min(len(failed) - 1, 20), LONGEST_DELAY)
    cause = "a fault that may pass"
    if last.needs_change and last.landing == landing and not last.could_not_go_on:
        delay, cause = UNCHANGED_DELAY, "what waiting does not cure, and the rows are the same"
    again = last.ended_at + delay
    if now >= again:
        return None
    return (
        f"The last {len(failed)} run{'s' if len(failed) > 1 else ''} failed ({last.run_id[:8]}: {cause}); "
        f"tried again at {again:%Y-%m-%d %H:%M:%S} UTC."
    )
