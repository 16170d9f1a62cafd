"""Rows to insert, ticks to evaluate and runs to fake: what the tests of sensors and schedules share."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg
import psycopg
from dagster._core.test_utils import create_run_for_test

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.automation.new_rows import new_rows_sensor
from cleverbetter_dagster.defs.jobs import jobs
from cleverbetter_dagster.defs.partitions import monthly
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.workers.queue import LANE

FAMILIES = ["ensemble", "classifier"]

INSERT = """
INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio,
    max_drawdown, total_bets, win_rate, profit_factor, method, composite_score, created_at)
SELECT %(prefix)s || n, 's' || n, now() - interval '1 hour', %(month)s::timestamptz,
    %(month)s::timestamptz + interval '27 days', 0.1, 1, 0.1, 40, 0.5, 1.2, 'replay', 0.5, now() - %(age)s
FROM generate_series(1, %(count)s) n"""


def insert_rows(
    connection: psycopg.Connection, month: str, count: int, prefix: str = "r", age: timedelta = timedelta(0)
) -> None:
    """Insert rows whose window ended in `month`, such as `2023-05`."""
    values = {"prefix": f"{prefix}-{month}-", "month": f"{month}-01T00:00:00Z", "count": count, "age": age}
    connection.execute(INSERT, values)


@dataclass
class Watched:
    """The sensor `new_rows` over one instance; stores its cursor as the daemon does."""

    settings: Settings
    instance: dg.DagsterInstance
    cursor: str | None = None
    families: list[str] = field(default_factory=lambda: FAMILIES)
    reasons: list[str] = field(default_factory=list)

    def tick(self, *, keep_cursor: bool = True) -> dg.RunRequest | None:
        """Evaluate once. The request, if there is one; otherwise the reason is in `reasons`."""
        partitions = monthly(self.settings.first_month)
        sensor = new_rows_sensor(self.families, self.settings, jobs(partitions))
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=defs,
            resources={"deployment": Deployment()},
        )
        result: Any = sensor.evaluate_tick(context)
        if keep_cursor:
            self.cursor = result.cursor
        if result.skip_message:
            self.reasons.append(result.skip_message)
        return result.run_requests[0] if result.run_requests else None

    @property
    def why_not(self) -> str:
        return self.reasons[-1]

    def ran(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> str:
        """Record a run of the request without running it."""
        tags = {**request.tags, LANE: "training", "dagster/partition": request.partition_key or ""}
        run = create_run_for_test(self.instance, job_name=request.job_name or "", status=status, tags=tags)
        return run.run_id


def stored_cursor(watched: Watched) -> dict[str, Any]:
    """The sensor's cursor."""
    return dict(json.loads(watched.cursor or "{}"))
