"""The one time partition: months, `2023-12`. Rows by the month their window ended in, the rest by as_of month."""

from typing import Any

import dagster as dg

HISTORY_MONTHS = 12 * 200
OWNERS = ["team:betting"]


def monthly(first_month: str) -> dg.MonthlyPartitionsDefinition:
    """Months from `first_month` up to and including the current, unfinished one, in UTC."""
    return dg.MonthlyPartitionsDefinition(start_date=first_month, fmt="%Y-%m", end_offset=1, timezone="UTC")


def whole_history() -> dg.TimeWindowPartitionMapping:
    """An as_of month depends on every month up to and including itself."""
    return dg.TimeWindowPartitionMapping(
        start_offset=-HISTORY_MONTHS, end_offset=0, allow_nonexistent_upstream_partitions=True
    )


def history_input() -> dg.AssetIn:
    """The rows of every month up to as_of; months never materialised are absent from the input."""
    return dg.AssetIn(key="training_rows", partition_mapping=whole_history(), metadata={"may_lack_partitions": True})


def by_month(partitions: dg.MonthlyPartitionsDefinition) -> dict[str, Any]:
    """Arguments every monthly asset shares: a range of months is one run, which the command line requires."""
    return {"partitions_def": partitions, "backfill_policy": dg.BackfillPolicy.single_run(), "owners": OWNERS}
