"""Jobs people, schedules and sensors start by name, which of them exclude each other, and how their steps are run."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.defs.assets.rows import UPSTREAM
from cleverbetter_dagster.learning.catalogue import FAMILIES

LOAD_ROWS = "load_rows"
RETRAIN = "retrain"
INCREMENTAL = "incremental"
PREDICT = "predict"
WALK_FORWARD = "walk_forward"

LANE = "cleverbetter/lane"
"""Tag of a run's kind of work. `dagster.yaml` lets one run of the lane `training` go at a time: each may load rows
again, under the feet of another. Predictions have a lane of their own, so no tuning makes them wait."""

TRAINING_LANE = {LANE: "training"}
PREDICTION_LANE = {LANE: "predictions", "dagster/priority": "10"}

EXECUTOR = dg.multiprocess_executor.configured(
    {
        "max_concurrent": 2,
        # Forked from a server that has imported the slow packages once: 1 s a step instead of 5 s.
        "start_method": {
            "forkserver": {
                "preload_modules": [
                    "cleverbetter_dagster.definitions",
                    "dagster_mlflow",
                    "lightgbm",
                    "sklearn.ensemble",
                ]
            }
        },
    }
)


def jobs(partitions: dg.MonthlyPartitionsDefinition) -> list[Any]:
    """All jobs; each runs at a month, or over a range of months, but for the one that gathers months."""
    walk_forward = dg.AssetSelection.assets("walk_forward_report")
    everything = dg.AssetSelection.all() - dg.AssetSelection.groups(UPSTREAM) - walk_forward
    studies = dg.AssetSelection.assets(*(f"{family}_study" for family in FAMILIES))
    described: dict[str, tuple[dg.AssetSelection, dict[str, str], str]] = {
        LOAD_ROWS: (
            dg.AssetSelection.assets("training_rows"),
            TRAINING_LANE,
            "Loads and validates the rows of the chosen months. Launch it over a range to load history.",
        ),
        RETRAIN: (
            everything,
            TRAINING_LANE,
            "Loads the month's rows and those of every earlier month that changed, then splits, tunes, trains, "
            "evaluates, compares, promotes and predicts as of that month.",
        ),
        INCREMENTAL: (
            everything - studies,
            TRAINING_LANE,
            "As retrain, without tuning: every family is updated from its current version with the rows that are new. "
            "Requested automatically when rows arrive.",
        ),
        PREDICT: (
            dg.AssetSelection.assets("strategy_predictions"),
            PREDICTION_LANE,
            "Scores every live strategy with the champion as of the month, from the rows that are loaded. Passes by "
            "whatever trains.",
        ),
    }
    by_month = [
        dg.define_asset_job(name, selection, partitions_def=partitions, tags=tags, description=description)
        for name, (selection, tags, description) in described.items()
    ]
    gathering = dg.define_asset_job(
        WALK_FORWARD,
        walk_forward,
        tags=TRAINING_LANE,
        description="Gathers the models of all months, each judged on the rows of the month after. Run it after a "
        "backfill; `cleverbetter backfill` does.",
    )
    return [*by_month, gathering]


def run_config(spec: DatasetSpec, update: Iterable[str] = ()) -> dict[str, Any]:
    """Run configuration of a training that nobody configures.

    Args:
        spec: choices of examples and split.
        update: families whose models go on from their newest versions; none is trained in full, with a study.
    """
    split = {"temporal_split": {"config": spec.model_dump(mode="json")}}
    return {"ops": {**split, **{f"{family}_model": {"config": {"training": "incremental"}} for family in update}}}
