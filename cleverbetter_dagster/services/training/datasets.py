"""From the database to examples: load a month, plan a split, rebuild the same examples from the same rows."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.as_of import AsOf, month_keys
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.quality.categories import indicator_names, indicators
from cleverbetter_dagster.dataset.quality.left_out import (
    LEAST_SHARE,
    NOTHING,
    LeftOut,
    left_out_of,
    rare_features,
    total,
)
from cleverbetter_dagster.dataset.schema import ID, MARKET_PREFIX, market_columns, rows_frame
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition, apply_split, split_examples
from cleverbetter_dagster.errors import DataError, NotEnoughRows
from cleverbetter_dagster.services.records import SplitRecord
from cleverbetter_dagster.services.training.panels import panel_key, store_panel, stored_panel
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.quarantine import open_quarantine, pending_rows
from cleverbetter_dagster.store.source.layout import resolve_source

MANY_FEATURES = 1_000
"""More market features than these are not put into one frame before it is known which of them are rare."""


@dataclass(frozen=True)
class Dataset:
    """Everything known at one as_of: the rows, the panel made from them, and its three parts."""

    record: SplitRecord
    panel: pd.DataFrame
    parts: Partition


def rows_until(months: Mapping[str, pa.Table], as_of: AsOf, market: Collection[str] | None = None) -> pd.DataFrame:
    """The rows of every month up to and including `as_of`, as one canonical frame.

    Args:
        market: the market features to take; by default all, but of more than `MANY_FEATURES` only those with values in
            `LEAST_SHARE` of the rows.

    Raises:
        DataError: a month between the first one in `months` and `as_of` is missing.
    """
    tables = _tables_until(months, as_of)
    if market is None and len(measured := _measured(tables)) > MANY_FEATURES:
        rows = sum(map(len, tables))
        market = [name for name, count in measured.items() if count >= LEAST_SHARE * rows]
    if market is not None:
        tables = [_with_market(table, market) for table in tables]
    plain = [table.replace_schema_metadata(None) for table in tables]  # what was left out differs from month to month
    return rows_frame(pa.concat_tables(plain, promote_options="default"))


def rows_to_split(months: Mapping[str, pa.Table], as_of: AsOf, spec: DatasetSpec) -> tuple[pd.DataFrame, LeftOut]:
    """The rows for `plan_split` and what was left out of their market features so far.

    Of more than `MANY_FEATURES`, those that are rare in the train part are left out here, where they cost no memory.
    """
    tables = _tables_until(months, as_of)
    left_out, measured = total(map(left_out_of, tables)), _measured(tables)
    if len(measured) <= MANY_FEATURES:
        return rows_until(months, as_of), left_out
    panel = build_panel(rows_until(months, as_of, ()), as_of.end, spec)
    train = pa.array(split_examples(panel, spec).train.ids, pa.string())
    counts = _measured([table.filter(pc.is_in(table[ID], train)) for table in tables])
    common = [name for name, count in counts.items() if count >= LEAST_SHARE * len(train)]
    return rows_until(months, as_of, common), total([left_out, rare_features(measured.keys() - set(common))])


def plan_month(settings: Settings, months: Mapping[str, pa.Table], as_of: AsOf, spec: DatasetSpec) -> Dataset:
    """`plan_split` of the stored rows. Its panel is stored, with all market features, for those who read the same rows.

    Raises:
        DataError: a month is missing.
        NotEnoughRows: the message also says how many rows are in quarantine.
    """
    rows, left_out = rows_to_split(months, as_of, spec)
    key = None if len(_measured(_tables_until(months, as_of))) > MANY_FEATURES else panel_key(months, as_of, spec)
    panel = _panel_with(settings, as_of, key, lambda: build_panel(rows, as_of.end, spec))
    try:
        dataset = _planned(rows, panel, as_of, spec, left_out)
    except NotEnoughRows as error:
        raise NotEnoughRows(f"{error} {_quarantine_note(settings, len(rows))}".strip()) from None
    enough = dataset.record.split.usable_rows >= spec.min_examples
    note = "" if enough else _quarantine_note(settings, len(rows))
    return replace(dataset, record=dataset.record.model_copy(update={"quarantine": note, "panel_key": key}))


def _quarantine_note(settings: Settings, loaded: int) -> str:
    """A sentence about the backtest rows in quarantine, beside so many loaded ones; empty without any."""
    table = str(resolve_source(settings).results)
    with open_quarantine(settings) as connection:
        pending = pending_rows(connection, table)
    if pending is None:
        return ""
    return (
        f"{pending.rows:,} of {pending.rows + loaded:,} rows of {table} are in quarantine; the most frequent reason "
        f"({pending.reason_rows:,} rows): {pending.reason}. See `cleverbetter quarantine list`."
    )


def plan_split(rows: pd.DataFrame, as_of: AsOf, spec: DatasetSpec, left_out: LeftOut = NOTHING) -> Dataset:
    """The temporal split of `as_of`, with the examples of each part.

    A market feature with values in less than `LEAST_SHARE` of the train part is left out of all parts.

    Args:
        left_out: of the market features when the rows were loaded, for the record.
    """
    return _planned(rows, build_panel(rows, as_of.end, spec), as_of, spec, left_out)


def _planned(rows: pd.DataFrame, panel: pd.DataFrame, as_of: AsOf, spec: DatasetSpec, left_out: LeftOut) -> Dataset:
    parts = split_examples(panel, spec)
    measured = parts.train.frame[market_columns(panel.columns)].notna().mean()
    rare = [str(name) for name in measured.index[measured < LEAST_SHARE]]
    kept = rows.drop(columns=rare)
    names = indicator_names(parts.train.frame)
    panel = panel.drop(columns=rare).assign(**indicators(panel, names))
    record = SplitRecord(
        as_of=as_of.key,
        spec=spec,
        split=parts.split,
        data_hash=data_hash(kept),
        rows=len(panel),
        indicators=names,
        market_features=market_columns(kept.columns),
        left_out=total([left_out, rare_features(rare)]),
    )
    return Dataset(record, panel, apply_split(panel, parts.split) if rare or names else parts)


def rebuild(rows: pd.DataFrame, record: SplitRecord) -> Dataset:
    """The examples a recorded split was made of.

    Raises:
        DataError: the rows are not those the split was made from.
    """
    if record.market_features is not None:
        rows = rows.drop(columns=[name for name in market_columns(rows.columns) if name not in record.market_features])
    now = data_hash(rows)
    if now != record.data_hash:
        raise DataError(
            f"The rows up to {record.as_of} changed since their split was made (hash {now}, the split has "
            f"{record.data_hash}). Materialise temporal_split of {record.as_of} again, then what follows it."
        )
    return _cut(build_panel(rows, AsOf.parse(record.as_of).end, record.spec), record)


def rebuild_each(
    settings: Settings, months: Mapping[str, pa.Table], splits: Mapping[str, SplitRecord]
) -> Iterator[tuple[str, Dataset]]:
    """The dataset of each as_of in `splits`, in order of time; only one is in memory at a time.

    Of the stored panel, where there is one of the same rows; else as `rebuild`.
    """
    for month in sorted(splits):
        record, as_of = splits[month], AsOf.parse(month)
        key = panel_key(months, as_of, record.spec) if record.panel_key else None
        panel = stored_panel(settings, as_of, key) if key and key == record.panel_key else None
        if panel is None:
            yield month, rebuild(rows_until(months, as_of, record.market_features), record)
        else:
            yield month, _cut(panel, record)


def _cut(panel: pd.DataFrame, record: SplitRecord) -> Dataset:
    """The dataset of a recorded split, cut from the panel that it was made of."""
    if record.market_features is not None:
        rare = set(market_columns(panel.columns)) - set(record.market_features)
        panel = panel.drop(columns=list(rare))
    panel = panel.assign(**indicators(panel, record.indicators))
    return Dataset(record, panel, apply_split(panel, record.split))


PanelOf = Callable[[DatasetSpec], pd.DataFrame]
"""The panel of what is known at an as_of, with all market features, for the choices of a spec."""


def panels_of(settings: Settings, months: Mapping[str, pa.Table], as_of: AsOf) -> PanelOf:
    """Panels of the stored rows: one that is stored for the same rows, else a new one."""

    def panel_of(spec: DatasetSpec) -> pd.DataFrame:
        key = panel_key(months, as_of, spec)
        panel = stored_panel(settings, as_of, key) if key else None
        return build_panel(rows_until(months, as_of), as_of.end, spec) if panel is None else panel

    return panel_of


def panels_from(rows: pd.DataFrame, as_of: AsOf) -> PanelOf:
    """Panels of canonical rows."""
    return lambda spec: build_panel(rows, as_of.end, spec)


def _panel_with(settings: Settings, as_of: AsOf, key: str | None, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The panel stored under the key, or else one that is built, and stored if it has a key."""
    if key is None:
        return build()
    panel = stored_panel(settings, as_of, key)
    if panel is None:
        panel = build()
        store_panel(settings, as_of, key, panel)
    return panel


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


def _tables_until(months: Mapping[str, pa.Table], as_of: AsOf) -> list[pa.Table]:
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
    return [wanted[month] for month in sorted(wanted)]


def _with_market(table: pa.Table, market: Collection[str]) -> pa.Table:
    """The table with these of its market features."""
    wanted = set(market)
    names = enumerate(table.column_names)
    return table.select([at for at, name in names if name in wanted or not name.startswith(MARKET_PREFIX)])


def _measured(tables: Iterable[pa.Table]) -> Counter[str]:
    """Number of values of each market feature that has any."""
    counts: Counter[str] = Counter()
    for table in tables:
        columns = zip(table.column_names, table.columns, strict=True)  # a name takes a search
        counts.update({n: len(table) - values.null_count for n, values in columns if n.startswith(MARKET_PREFIX)})
    return +counts
