"""The time partition: months, `2023-12`. Rows by the month in which their window ended, the rest by as_of month."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from cleverbetter_dagster.defs.failures import RETRY_TRANSIENT_FAULTS

LONGEST_UPTIME_MONTHS = 12 * 20
"""A process that was started so long ago still gives an as_of month its whole history. Dagster walks over every month
that an offset spans, for each input of each step, so offsets are no longer than they need to be."""

MAY_LACK_PARTITIONS = {"may_lack_partitions": True}
"""Metadata of an input whose partitions may be missing; see `io_manager`."""

SHARED: dict[str, Any] = {
    "owners": ["team:betting"],
    # A range of months is one run. Dagster's command line requires it, also of assets without partitions.
    "backfill_policy": dg.BackfillPolicy.single_run(),
    "retry_policy": RETRY_TRANSIENT_FAULTS,
}
"""Arguments of every asset."""


def monthly(first_month: str) -> dg.MonthlyPartitionsDefinition:
    """Months from `first_month` up to and including the current, unfinished one; the newest begins in UTC."""
    return dg.MonthlyPartitionsDefinition(start_date=first_month, fmt="%Y-%m", end_offset=1, timezone="UTC")


def by_month(partitions: dg.MonthlyPartitionsDefinition) -> dict[str, Any]:
    """Arguments of every monthly asset."""
    return {"partitions_def": partitions, **SHARED}


def whole_history(partitions: dg.MonthlyPartitionsDefinition) -> dg.TimeWindowPartitionMapping:
    """An as_of month depends on every month up to and including itself."""
    first, now = partitions.start, datetime.now(UTC)
    months = 12 * (now.year - first.year) + now.month - first.month
    return dg.TimeWindowPartitionMapping(
        start_offset=-(max(months, 0) + LONGEST_UPTIME_MONTHS),
        end_offset=0,
        allow_nonexistent_upstream_partitions=True,
    )


def history_input(partitions: dg.MonthlyPartitionsDefinition, asset: str = "training_rows") -> dg.AssetIn:
    """All months of an asset up to as_of; months that were never materialised are not in the input."""
    return dg.AssetIn(asset, partition_mapping=whole_history(partitions), metadata=MAY_LACK_PARTITIONS)
