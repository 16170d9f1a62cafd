"""The sensor that looks for new rows and requests a training at the newest month that has any.

That is the job `incremental`; `retrain` where some family has no version yet to go on from, or could not go on from it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from cleverbetter_dagster.defs.jobs import INCREMENTAL, RETRAIN, TRAINING_LANE, run_config
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.defs.runs import CAUSE, LANDING, active_runs, past_runs, succeeded
from cleverbetter_dagster.services.ingest.change_detection import Found
from cleverbetter_dagster.services.ingest.retrain_policy import Policy, Situation, Verdict, decide
from cleverbetter_dagster.services.ingest.sensor_state import Memory, Standing, observe, standing
from cleverbetter_dagster.services.ingest.training_plan import TrainingPlan, plan_training
from cleverbetter_dagster.settings import Settings

NEW_ROWS = {CAUSE: "new_rows"}


def new_rows_sensor(families: Sequence[str], settings: Settings, jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor `new_rows`, which requests two of the `jobs`."""

    @dg.sensor(
        jobs=[job for job in jobs if job.name in (INCREMENTAL, RETRAIN)],
        minimum_interval_seconds=settings.poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Looks for rows and market features that are new, changed or gone since they were last loaded, and "
            "updates the models when there are enough of them (CLEVERBETTER_MIN_NEW_ROWS) or they have waited long "
            "enough (CLEVERBETTER_LONGEST_WAIT_MINUTES). One run brings every changed month up to date; it splits as "
            "the champion's training did, and trains in full where a family has no such version to go on from."
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
        plan = plan_training(deployment.settings(), families, where.as_of)
        context.log.info(f"{reason} {plan} {_how(plan, verdict)}")
        request = _request(where, verdict, plan, families)
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


def _how(plan: TrainingPlan, verdict: Verdict) -> str:
    if plan.without_parent:
        return f"{RETRAIN}: {', '.join(plan.without_parent)} has no version of such a split to go on from."
    return f"{RETRAIN if verdict.full else INCREMENTAL}."


def _request(where: Standing, verdict: Verdict, plan: TrainingPlan, families: Sequence[str]) -> dg.RunRequest:
    full = verdict.full or bool(plan.without_parent)
    return dg.RunRequest(
        run_key=f"{where.landing} #{verdict.attempt}",  # the same state of the tables never gives two runs
        job_name=RETRAIN if full else INCREMENTAL,
        partition_key=where.as_of,
        run_config=run_config(plan.spec, () if full else families),
        tags={**NEW_ROWS, LANDING: where.landing},
    )
