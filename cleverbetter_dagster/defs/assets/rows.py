"""The two upstream tables, the rows of each month, and the temporal split of each as_of month."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.assets.config import SplitConfig
from cleverbetter_dagster.defs.assets.metadata import Metadata, markdown, picture, report_metadata
from cleverbetter_dagster.defs.failures import each_month, step_failures
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment, ask_mlflow_first
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.charts.rows import split_chart
from cleverbetter_dagster.services.ingest.loading import MonthLoad, load_months
from cleverbetter_dagster.services.ingest.row_checks import ROW_CHECKS
from cleverbetter_dagster.services.reports.store import report_on_split
from cleverbetter_dagster.services.training.datasets import Dataset, plan_month
from cleverbetter_dagster.services.training.panels import forget_panels
from cleverbetter_dagster.services.training.split_checks import SPLIT_CHECKS, timeline
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.source.load_log import record_load

GROUP = "rows"
UPSTREAM = "upstream"
WITHOUT_MONTH = (
    "Rows in quarantine because their end_date is in no plausible month: %d. `cleverbetter quarantine list` shows them."
)
TABLES = {
    "backtest_results": "One row per backtest of one strategy over one window. Written by the backtesting service.",
    "ml_features": "Market features of each backtest row. Written by the backtesting service.",
}


def row_assets(partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetSpec | dg.AssetsDefinition]:
    """Everything up to the split."""
    upstream = [
        dg.AssetSpec(name, description=description, group_name=UPSTREAM, kinds={"postgres"})
        for name, description in TABLES.items()
    ]
    return [*upstream, training_rows(partitions), temporal_split(partitions)]


def training_rows(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `training_rows`."""

    @dg.asset(
        **by_month(partitions),
        deps=list(TABLES),
        group_name=GROUP,
        kinds={"postgres", "parquet"},
        pool="rows",
        metadata={"may_add_partitions": True},
        description="One row per backtest window that ended in the month, validated. Rows that cannot be right go to "
        "quarantine. A run that trains also loads every earlier month again whose rows changed since it was loaded.",
        code_version="2",
        check_specs=check_specs(ROW_CHECKS, "training_rows"),
    )
    def training_rows(context: dg.AssetExecutionContext, deployment: Deployment) -> Iterator[Any]:
        settings, months = deployment.settings(), context.partition_keys
        ask_mlflow_first(context, settings)
        # Of the whole run; the context knows only what this step materialises.
        selected = {key.to_user_string() for key in context.job_def.asset_layer.selected_asset_keys}
        with step_failures():
            load = load_months(settings, months, catch_up="temporal_split" in selected)
        if load.without_month:
            context.log.warning(WITHOUT_MONTH, load.without_month)
        each_month(context, ((month, load.months[month]) for month in months), _load_metadata)
        tables = {month: loaded.table for month, loaded in load.months.items()}
        yield dg.MaterializeResult(value=tables, check_results=check_results(ROW_CHECKS, load.months))
        # Dagster continues here once the rows are stored. Only then are they recorded as loaded.
        for month in sorted(tables.keys() - set(months)):
            yield dg.AssetMaterialization("training_rows", partition=month, metadata=_load_metadata(load.months[month]))
        with step_failures():
            record_load(settings, load.log, context.run_id, max(months) if "champion" in selected else None)

    return training_rows


def temporal_split(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `temporal_split`."""

    @dg.asset(
        **by_month(partitions),
        ins={"training_rows": history_input(partitions)},
        group_name=GROUP,
        kinds={"python"},
        description="Train, validation and test of the as_of month, cut in time and purged. It uses nothing that "
        "became known after the month. Its report says whether models may be trained on it.",
        code_version="2",
        check_specs=check_specs(SPLIT_CHECKS, "temporal_split"),
    )
    def temporal_split(
        context: dg.AssetExecutionContext,
        config: SplitConfig,
        deployment: Deployment,
        training_rows: dict[str, pa.Table],
    ) -> Iterator[dg.MaterializeResult]:
        settings, spec = deployment.settings(), DatasetSpec(**config.model_dump())
        ask_mlflow_first(context, settings)
        with step_failures():
            forget_panels(settings, keep=context.partition_keys)
        split = (
            (as_of.key, plan_month(settings, training_rows, as_of, spec))
            for as_of in map(AsOf.parse, context.partition_keys)
        )
        datasets = each_month(context, split, lambda dataset: _split_metadata(settings, dataset))
        yield dg.MaterializeResult(
            value={month: dataset.record for month, dataset in datasets.items()},
            check_results=check_results(SPLIT_CHECKS, datasets),
        )

    return temporal_split


def _load_metadata(load: MonthLoad) -> Metadata:
    counts: Metadata = {"dagster/row_count": load.table.num_rows, "quarantined": load.quarantined}
    if load.left_out:
        counts["market_features_left_out"] = str(load.left_out)
    if load.left_out_methods:
        counts["methods_left_out"] = ", ".join(f"{name}: {rows:,} rows" for name, rows in load.left_out_methods.items())
    if load.window_ends is None:
        return counts
    first, last = load.window_ends
    return {**counts, "first_window_end": str(first), "last_window_end": str(last)}


def _split_metadata(settings: Settings, dataset: Dataset) -> Metadata:
    split = dataset.record.split
    return {
        "dagster/row_count": split.usable_rows,
        "train_rows": split.train.rows,
        "validation_rows": split.validation.rows,
        "test_rows": split.test.rows,
        "purged_rows": split.purged_rows,
        "filtered_rows": split.filtered_rows,
        "unlabelled_rows": split.unlabelled_rows,
        "validation_start": str(split.validation_start),
        "test_start": str(split.test_start),
        "data_hash": dataset.record.data_hash,
        "market_features_left_out": str(dataset.record.left_out),
        "timeline": markdown(picture(png(split_chart(timeline(dataset))), "split timeline")),
        **report_metadata(settings, report_on_split(settings, dataset)),
    }
