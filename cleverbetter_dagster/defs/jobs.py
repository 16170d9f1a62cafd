"""The jobs that people, schedules and sensors start, which of them exclude each other, and how their steps run."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.defs.assets.rows import UPSTREAM
from cleverbetter_dagster.defs.steps.executor import IN_RUN_PROCESS
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.store.workers.queue import LANE, PREDICTIONS, TRAINING

LOAD_ROWS = "load_rows"
RETRAIN = "retrain"
INCREMENTAL = "incremental"
PREDICT = "predict"
WALK_FORWARD = "walk_forward"

ONE_STEP = frozenset({LOAD_ROWS, PREDICT, WALK_FORWARD})
"""Jobs of one step each."""

TRAINING_LANE = {LANE: TRAINING}
PREDICTION_LANE = {LANE: PREDICTIONS, "dagster/priority": "10"}


def jobs(partitions: dg.MonthlyPartitionsDefinition) -> list[Any]:
    """All jobs. Each runs for a month or a range of months, except the one that reads all months together."""
    walk_forward = dg.AssetSelection.assets("walk_forward_report")
    everything = dg.AssetSelection.all() - dg.AssetSelection.groups(UPSTREAM) - walk_forward
    studies = dg.AssetSelection.assets(*(f"{family}_study" for family in FAMILIES))

    def job(
        name: str,
        selection: dg.AssetSelection,
        description: str,
        tags: dict[str, str] = TRAINING_LANE,
        months: dg.MonthlyPartitionsDefinition | None = partitions,
    ) -> Any:
        return dg.define_asset_job(
            name,
            selection,
            partitions_def=months,
            tags=tags,
            description=description,
            executor_def=IN_RUN_PROCESS if name in ONE_STEP else None,
        )

    return [
        job(
            LOAD_ROWS,
            dg.AssetSelection.assets("training_rows"),
            "Loads and validates the rows of the chosen months. Launch it for a range of months to load history.",
        ),
        job(
            RETRAIN,
            everything,
            "Loads the rows of the month and of every earlier month that changed. Then splits, tunes, trains, "
            "evaluates, compares, promotes and predicts as of the month.",
        ),
        job(
            INCREMENTAL,
            everything - studies,
            "Like retrain, but without tuning: updates the current version of every family with the new rows. Starts "
            "automatically when new rows arrive.",
        ),
        job(
            PREDICT,
            dg.AssetSelection.assets("strategy_predictions"),
            "Scores every live strategy with the champion as of the month, from the rows already loaded. Runs in "
            "parallel with training.",
            tags=PREDICTION_LANE,
        ),
        job(
            WALK_FORWARD,
            walk_forward,
            "Judges the models of all months, each on the rows of the month after. Run it after a backfill in the "
            "UI; `cleverbetter backfill --help` tells of the command that runs it itself.",
            months=None,
        ),
    ]


def run_config(spec: DatasetSpec, update: Iterable[str] = ()) -> dict[str, Any]:
    """Run configuration of a training that a schedule or a sensor starts.

    Args:
        spec: choices of examples and split.
        update: families whose newest versions are updated; with none, all are trained in full, with a study.
    """
    split = {"temporal_split": {"config": spec.model_dump(mode="json")}}
    return {"ops": {**split, **{f"{family}_model": {"config": {"training": "incremental"}} for family in update}}}
