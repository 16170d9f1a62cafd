"""Rows in: the two upstream tables, the rows of each month, and the temporal split of each as_of."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.assets.metadata import page, picture, report_metadata
from cleverbetter_dagster.defs.failures import RETRY_PASSING_FAULTS, clear_failures
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.charts.rows import split_chart
from cleverbetter_dagster.services.ingest.loading import MonthLoad, load_months
from cleverbetter_dagster.services.ingest.row_checks import ROW_CHECKS
from cleverbetter_dagster.services.reports.store import report_on_split
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split, rows_until
from cleverbetter_dagster.services.training.split_checks import SPLIT_CHECKS, timeline
from cleverbetter_dagster.store.source.load_log import record_load

GROUP = "rows"
UPSTREAM = "upstream"


class SplitConfig(DatasetSpec, dg.Config):
    """How examples are chosen and split; recorded with the split and used by everything that follows it."""


def upstream_tables() -> list[dg.AssetSpec]:
    """The tables the backtesting service writes; read here, never written."""
    described = {
        "backtest_results": "One row per backtest of one strategy over one window.",
        "ml_features": "Market features of each backtest row.",
    }
    return [
        dg.AssetSpec(
            table,
            description=f"{text} Written by the backtesting service.",
            group_name=UPSTREAM,
            kinds={"postgres"},
        )
        for table, text in described.items()
    ]


def training_rows(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `training_rows`."""

    @dg.asset(
        **by_month(partitions),
        deps=["backtest_results", "ml_features"],
        group_name=GROUP,
        kinds={"postgres", "parquet"},
        pool=GROUP,
        metadata={"may_add_partitions": True},
        description=(
            "One row per backtest window that ended in the month, validated. Rows that "
            "cannot be right go to quarantine. In a run that goes on to training, every earlier month whose rows "
            "changed since it was loaded is loaded again as well."
        ),
        code_version="2",
        retry_policy=RETRY_PASSING_FAULTS,
        check_specs=check_specs(ROW_CHECKS, "training_rows"),
    )
    def training_rows(context: dg.AssetExecutionContext, deployment: Deployment) -> Iterator[Any]:
        settings, asked = deployment.settings(), context.partition_keys
        # Of the whole run; the context itself knows only what this step materialises.
        selected = {key.to_user_string() for key in context.job_def.asset_layer.selected_asset_keys}
        with clear_failures():
            load = load_months(settings, asked, catch_up="temporal_split" in selected)
            for month in asked:
                context.add_asset_metadata(_month_metadata(load.months[month]), partition_key=month)
        tables = {month: loaded.table for month, loaded in load.months.items()}
        yield dg.MaterializeResult(value=tables, check_results=check_results(ROW_CHECKS, load.months))
        # Dagster comes back here once the rows are stored; before that nothing is recorded as loaded.
        for month in sorted(tables.keys() - set(asked)):
            yield dg.AssetMaterialization(
                "training_rows", partition=month, metadata=_month_metadata(load.months[month])
            )
        with clear_failures():
            record_load(settings, load.log, context.run_id, max(asked) if "champion" in selected else None)

    return training_rows


def temporal_split(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `temporal_split`."""

    @dg.asset(
        **by_month(partitions),
        ins={"training_rows": history_input()},
        group_name=GROUP,
        kinds={"python"},
        description=(
            "Train, validation and test of the as_of month, cut in time and purged; nothing "
            "known after the month is in it. Its report says whether models may be made from it."
        ),
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
        with clear_failures():
            datasets = {
                month: plan_split(rows_until(training_rows, AsOf.parse(month)), AsOf.parse(month), spec)
                for month in context.partition_keys
            }
            for month, dataset in datasets.items():
                made = report_metadata(settings, report_on_split(settings, dataset))
                context.add_asset_metadata({**_split_metadata(dataset), **made}, partition_key=month)
        yield dg.MaterializeResult(
            value={month: dataset.record for month, dataset in datasets.items()},
            check_results=check_results(SPLIT_CHECKS, datasets),
        )

    return temporal_split


def row_assets(partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetSpec | dg.AssetsDefinition]:
    """Everything up to the split."""
    return [*upstream_tables(), training_rows(partitions), temporal_split(partitions)]


def _month_metadata(load: MonthLoad) -> dict[str, dg.MetadataValue | int | str]:
    facts: dict[str, dg.MetadataValue | int | str] = {
        "dagster/row_count": load.table.num_rows,
        "quarantined": load.quarantined,
    }
    if load.window_ends is not None:
        facts |= {"first_window_end": str(load.window_ends[0]), "last_window_end": str(load.window_ends[1])}
    return facts


def _split_metadata(dataset: Dataset) -> dict[str, dg.MetadataValue | int | str]:
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
        "timeline": page(picture(png(split_chart(timeline(dataset))), "split timeline")),
    }
