"""Which runs exclude each other, and how many run at once: on one machine, or on all workers together."""

from collections.abc import Mapping
from time import monotonic
from typing import Any, Self

from dagster._config import UserConfigSchema
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig
from dagster._serdes import ConfigurableClassData

from cleverbetter_dagster.settings import load_settings

LANE = "cleverbetter/lane"
"""Tag with a run's kind of work. Of the lane `training` one runs at a time, because each may load rows again that
another reads. Predictions have their own lane, so on one machine they never wait for a training."""

TRAINING, PREDICTIONS, MONTHS = "training", "predictions", "months"
"""Lanes. Runs of `MONTHS` train a past month whose rows are loaded; on workers they run side by side."""

JOB_ID_TAG = "cleverbetter/job_id"
"""Tag that the runs of one request share. They follow each other: rows are loaded before a training uses them."""

MOST_RUNS = 4
"""At once on one machine: a run is a process of some hundred MB."""

MOST_IN_A_BACKFILL = 2
"""A backfill of single assets in the UI belongs to no job, and so to no lane."""

SLOTS_SECONDS = 10.0
"""So long the number of slots that the workers have counts."""


class StateRunCoordinator(QueuedRunCoordinator[Any]):
    """Dagster's queue of runs, with our limits. A `concurrency` in an edited `dagster.yaml` wins over them."""

    _slots: tuple[float, int] | None = None

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        return cls(dequeue_interval_seconds=1, inst_data=inst_data, **config_value)  # a run starts after 1 s, not 5

    def get_run_queue_config(self) -> RunQueueConfig:
        """The limits of this moment: workers come and go."""
        shared = load_settings().workers_url is not None
        most = self._slots_of_workers() if shared else MOST_RUNS
        limits = [_at_once(LANE, TRAINING, 1), _at_once(LANE, PREDICTIONS, 1)]
        limits.append({"key": JOB_ID_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1})
        if not shared:
            limits += [_at_once(LANE, MONTHS, 1), {"key": "dagster/backfill", "limit": MOST_IN_A_BACKFILL}]
        return (
            super()
            .get_run_queue_config()
            .with_concurrency_settings({"runs": {"max_concurrent_runs": most, "tag_concurrency_limits": limits}})
        )

    def _slots_of_workers(self) -> int:
        from cleverbetter_dagster.store.workers.launcher import slots_of_workers

        if self._slots is None or monotonic() > self._slots[0] + SLOTS_SECONDS:
            slots = sum(slots_of_workers(load_settings()).values())
            self._slots = (monotonic(), slots)
        return self._slots[1]


def _at_once(key: str, value: str, limit: int) -> dict[str, Any]:
    return {"key": key, "value": value, "limit": limit}
