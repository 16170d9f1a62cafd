"""From the database to examples: load a month, plan a split, rebuild the same examples from the same rows."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf, month_keys
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.quality.left_out import NOTHING, LeftOut, left_out_of, total
from cleverbetter_dagster.dataset.schema import ID, rows_frame
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition, apply_split, split_examples
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.services.records import SplitRecord


@dataclass(frozen=True)
class Dataset:
    """Everything known at one as_of: the rows, the panel made from them, and its three parts."""

    record: SplitRecord
    panel: pd.DataFrame
    parts: Partition


def rows_until(months: Mapping[str, pa.Table], as_of: AsOf) -> pd.DataFrame:
    """The rows of every month up to and including `as_of`, as one canonical frame.

    Raises:
        DataError: a month between the first one in `months` and `as_of` is missing.
    """
    wanted = {month: table for month, table in months.items() if month <= as_of.key}
    if not wanted:
        raise DataError(
            f"training_rows holds no month up to {as_of.key}. Materialise training_rows for the months that have rows."
        )
    missing = [month for month in month_keys(min(wanted), as_of.key) if month not in wanted]
    if missing:
        raise DataError(
            f"training_rows lacks {len(missing)} of the months up to {as_of.key}: {', '.join(missing[:6])}"
            f"{', ...' if len(missing) > 6 else ''}. Labels and history features need every month in between; "
            f"materialise training_rows over {missing[0]}...{missing[-1]}."
        )
    tables = [wanted[month] for month in sorted(wanted)]
    return rows_frame(pa.concat_tables(tables, promote_options="default"))


def left_out_until(months: Mapping[str, pa.Table], as_of: AsOf) -> LeftOut:
    """What was left out of the market features of every month up to and including `as_of`."""
    return total(left_out_of(table) for month, table in months.items() if month <= as_of.key)


def plan_split(rows: pd.DataFrame, as_of: AsOf, spec: DatasetSpec, left_out: LeftOut = NOTHING) -> Dataset:
    """The temporal split of `as_of`, with the examples of each part.

    Args:
        left_out: of the market features when the rows were loaded, for the record.
    """
    panel = build_panel(rows, as_of.end, spec)
    parts = split_examples(panel, spec)
    record = SplitRecord(
        as_of=as_of.key,
        spec=spec,
        split=parts.split,
        data_hash=data_hash(rows),
        rows=len(panel),
        left_out=left_out,
    )
    return Dataset(record, panel, parts)


def rebuild(rows: pd.DataFrame, record: SplitRecord) -> Dataset:
    """The examples a recorded split was made of.

    Raises:
        DataError: the rows are not those the split was made from.
    """
    now = data_hash(rows)
    if now != record.data_hash:
        raise DataError(
            f"The rows up to {record.as_of} changed since their split was made (hash {now}, the split has "
            f"{record.data_hash}). Materialise temporal_split of {record.as_of} again, then what follows it."
        )
    panel = build_panel(rows, AsOf.parse(record.as_of).end, record.spec)
    return Dataset(record, panel, apply_split(panel, record.split))


def rebuild_each(months: Mapping[str, pa.Table], splits: Mapping[str, SplitRecord]) -> Iterator[tuple[str, Dataset]]:
    """The dataset of each as_of in `splits`, in order of time; only one is in memory at a time."""
    for month in sorted(splits):
        yield month, rebuild(rows_until(months, AsOf.parse(month)), splits[month])


def data_hash(rows: pd.DataFrame) -> str:
    """A hash of the rows' content that does not depend on their order.

    >>> rows = pd.DataFrame({"id": ["a", "b"], "roi": [0.1, 0.2]})
    >>> data_hash(rows) == data_hash(rows[::-1])
    True
    """
    columns = sorted(rows.columns)
    ordered = rows.sort_values(ID, kind="stable")[columns]
    digest = hashlib.sha256(",".join(columns).encode())
    digest.update(pd.util.hash_pandas_object(ordered, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
