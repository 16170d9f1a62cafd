"""What `up` says of the first training: it begins by itself, takes its time, and nobody asked for it."""

import math
from typing import TYPE_CHECKING

from cleverbetter_dagster.settings import Settings

if TYPE_CHECKING:
    from cleverbetter_dagster.learning.scoring import StudySpec

MINUTES_PER_ROW = 3.1e-4
"""To fit, judge and report on every family: 5.5 minutes for 17,858 rows on two cores that others used as well."""


def first_training(settings: Settings) -> str | None:
    """When the first training begins and how long it is expected to take; None if no first one is due by itself.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    from cleverbetter_dagster.store.source.load_log import last_training_snapshot
    from cleverbetter_dagster.store.summary import summarise_database

    database = summarise_database(settings)
    if settings.automation is False or database is None or database.rows is None or database.champion is not None:
        return None
    rows = database.rows.tables[0].rows
    if not rows or last_training_snapshot(settings) is not None:
        return None
    return f"{_begin(settings, rows)} {_length(rows)} `cleverbetter status` shows what runs."


def _begin(settings: Settings, rows: int) -> str:
    many = f"{rows:,} {'row was' if rows == 1 else 'rows were'} never trained on"
    if rows >= settings.min_new_rows:
        return f"{many}: the first training begins by itself within {settings.poll_seconds} s."
    return (
        f"{many}: the first training begins by itself when there are {settings.min_new_rows:,}, or after "
        f"{settings.longest_wait_minutes:g} minutes."
    )


def _length(rows: int) -> str:
    from cleverbetter_dagster.defs.steps.executor import STEPS_AT_ONCE
    from cleverbetter_dagster.learning.catalogue import FAMILIES
    from cleverbetter_dagster.learning.scoring import StudySpec

    studies = {name: StudySpec(**family.study_defaults) for name, family in FAMILIES.items()}
    longest = {name: _search_minutes(study) for name, study in studies.items()}
    search = max(math.ceil(sum(longest.values()) / STEPS_AT_ONCE), math.ceil(max(longest.values())))
    rest = max(round(rows * MINUTES_PER_ROW), 1)
    each = ", ".join(f"{name} {minutes:g}" for name, minutes in longest.items())
    return (
        f"Expect about {search + rest} minutes: {search} at most to search parameters ({each}; {STEPS_AT_ONCE} at a "
        f"time), and {rest} to fit, judge and report."
    )


def _search_minutes(study: "StudySpec") -> float:
    return math.inf if study.timeout_seconds is None else study.timeout_seconds / 60
