"""Jobs people start by name, and how their steps are run."""

from typing import Any

import dagster as dg

from cleverbetter_dagster.defs.rows import UPSTREAM

LOAD_ROWS = "load_rows"
RETRAIN = "retrain"

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
    """`load_rows` for the rows of months, `retrain` for everything that follows from them at an as_of month."""
    rows = dg.AssetSelection.assets("training_rows")
    # The report has no partitions: it gathers them, after as many months as one likes.
    apart = dg.AssetSelection.groups(UPSTREAM) | dg.AssetSelection.assets("walk_forward_report")
    everything = dg.AssetSelection.all() - apart
    return [
        dg.define_asset_job(
            LOAD_ROWS,
            rows,
            partitions_def=partitions,
            description="Loads and validates the rows of the chosen months. Launch it over a range to load history.",
        ),
        dg.define_asset_job(
            RETRAIN,
            everything,
            partitions_def=partitions,
            description=(
                "Loads the month's rows, then splits, trains, evaluates, compares, promotes "
                "and predicts as of that month."
            ),
        ),
    ]
