"""The sensor that looks for new rows and requests the job `incremental` at the newest month that has any."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from cleverbetter_dagster.defs.jobs import INCREMENTAL, TRAINING_LANE, incremental_config
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.defs.runs import CAUSE, LANDING, active_runs, past_runs, succeeded
from cleverbetter_dagster.services.landing import Found
from cleverbetter_dagster.services.retraining import Policy, Situation, Verdict, decide
from cleverbetter_dagster.services.watching import Memory, Standing, observe, standing
from cleverbetter_dagster.settings import Settings

NEW_ROWS = {CAUSE: "new_rows"}


def new_rows_sensor(families: Sequence[str], settings: Settings) -> dg.SensorDefinition:
    """The sensor `new_rows`."""

    @dg.sensor(
        job_name=INCREMENTAL,
        minimum_interval_seconds=settings.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Looks for rows and market features that are new, changed or gone since they were last loaded, and "
            "updates the models when there are enough of them (CLEVERBETTER_MIN_NEW_ROWS) or they have waited long "
            "enough (CLEVERBETTER_LONGEST_WAIT_MINUTES). One run brings every changed month up to date."
        ),
    )
    def new_rows(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
        now = datetime.now(UTC)
        tick = _Tick(context, deployment.settings(), now)
        verdict, where = tick.judge(complete=False)
        if verdict.request and not tick.found.complete:
            verdict, where = tick.judge(complete=True)  # whether that is so, contents decide
        reason = f"{tick.sight()} {verdict.reason}"
        if not verdict.request or where.as_of is None:
            return dg.SensorResult(skip_reason=reason, cursor=tick.memory.model_dump_json())
        context.log.info(reason)
        request = _request(where.as_of, where.landing, verdict.attempt, families)
        return dg.SensorResult(run_requests=[request], cursor=tick.memory.model_dump_json())

    return new_rows


class _Tick:
    """One evaluation: looks once or twice, and judges what it saw."""

    def __init__(self, context: dg.SensorEvaluationContext, settings: Settings, now: datetime) -> None:
        self._instance = context.instance
        self._settings = settings
        self._now = now
        self.memory = Memory.parse(context.cursor)
        self.found: Found

    def judge(self, *, complete: bool) -> tuple[Verdict, Standing]:
        self.found, self.memory = observe(self._settings, self.memory, self._now, complete=complete)
        where = standing(self._settings, self.found, self.memory)
        untrained = where.loaded_as_of is not None and (
            where.taking is None or not succeeded(self._instance, where.taking.run_id)
        )
        situation = Situation(
            waiting=self.memory.waiting,
            untrained=untrained,
            landing=where.landing,
            active=active_runs(self._instance, TRAINING_LANE),
            requested=past_runs(self._instance, NEW_ROWS),
        )
        policy = Policy(self._settings.min_new_rows, timedelta(minutes=self._settings.longest_wait_minutes))
        return decide(situation, policy, self._now), where

    def sight(self) -> str:
        """What was looked at, and what is left alone."""
        seen = f"Looked at {self.found.how}."
        if self.found.out_of_reach:
            left = ", ".join(sorted(self.found.out_of_reach))
            seen += f" Left alone, out of the months watched (CLEVERBETTER_MONTHS_BACK, _FIRST_MONTH): {left}."
        return seen


def _request(as_of: str, landing: str, attempt: int, families: Sequence[str]) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{landing} #{attempt}",  # the same state of the tables never gives two runs
        partition_key=as_of,
        run_config=incremental_config(families),
        tags={**NEW_ROWS, LANDING: landing},
    )
