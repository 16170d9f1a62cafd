"""The runs of Dagster that are running or queued, for people. Starts and creates nothing.

They are read from Dagster's own tables: through Dagster, that would start the embedded database, create what is
missing, and take seconds.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import connect, running_target, table_exists

QUEUED = ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING")
RUNNING = ("STARTED", "CANCELING")
"""As Dagster 1.13 stores the status of a run."""

MOST_RUNS = 50

RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
MONTH_TAGS = (RANGE_START_TAG, RANGE_END_TAG, "dagster/partition")
FAMILY_TAG = "cleverbetter/family"

SELECT = """
SELECT r.run_id, r.pipeline_name, r.status, r.create_timestamp, r.start_time,
    coalesce((SELECT jsonb_object_agg(t.key, t.value) FROM run_tags t WHERE t.run_id = r.run_id), '{}')
FROM runs r WHERE r.status = ANY(%s) ORDER BY r.id LIMIT %s
"""


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that waits or works.

    Attributes:
        months: the month it is as of, or first and last of several with `...` between them; None without months.
        since: when it began, or while it is queued, when it was requested.
    """

    run_id: str
    job: str
    state: Literal["running", "queued"]
    months: str | None
    family: str | None
    since: datetime

    def __str__(self) -> str:
        about = " ".join(filter(None, (self.family, f"as of {self.months}" if self.months else None)))
        return f"{self.job} {about}".strip()


def unfinished_runs(settings: Settings) -> list[UnfinishedRun]:
    """The runs that are running or queued, in the order in which they were requested, `MOST_RUNS` at most.

    None where Dagster has no tables yet, or the embedded database is down.

    Raises:
        DatabaseUnavailable: the configured one does not answer.
    """
    target = running_target(settings, "dagster")
    if target is None:
        return []
    with closing(connect(target, autocommit=True)) as connection:
        if not (table_exists(connection, "runs") and table_exists(connection, "run_tags")):
            return []
        rows = connection.execute(SELECT, [[*RUNNING, *QUEUED], MOST_RUNS]).fetchall()
    return [_run(*row) for row in rows]


def _run(
    run_id: str, job: str, status: str, created: datetime, started: float | None, tags: dict[str, Any]
) -> UnfinishedRun:
    first, last, only = (tags.get(name) for name in MONTH_TAGS)
    months = only if first is None else first if first == last else f"{first}...{last}"
    since = datetime.fromtimestamp(started, UTC) if started else created.replace(tzinfo=UTC)
    state: Literal["running", "queued"] = "running" if status in RUNNING else "queued"
    return UnfinishedRun(run_id, job, state, months, tags.get(FAMILY_TAG), since)
