"""The walk-forward report: the models of all as_of months together, judged on the months after them."""

from collections.abc import Iterator, Sequence

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.defs.assets.config import WalkForwardConfig
from cleverbetter_dagster.defs.assets.family_metadata import leaderboard_table
from cleverbetter_dagster.defs.assets.metadata import Metadata, markdown, picture, report_metadata, report_table
from cleverbetter_dagster.defs.failures import step_failures
from cleverbetter_dagster.defs.partitions import MAY_LACK_PARTITIONS, SHARED
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.defs.stored_metadata import stored_metadata
from cleverbetter_dagster.errors import NothingToJudge
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord
from cleverbetter_dagster.services.walk_forward.report import WalkForwardReport, make_report

GROUP = "evidence"
IF_POSSIBLE_TAG = "cleverbetter/if_possible"
"""Tag of a run that makes the report if there is anything to judge, and else makes none."""

MODELS = dg.DagsterType(lambda _, value: isinstance(value, dict), name="Models", typing_type=dict[str, ModelRecord])


def walk_forward_assets(families: Sequence[str]) -> list[dg.AssetsDefinition]:
    """The asset `walk_forward_report`."""

    @dg.asset(
        ins={
            "rows": dg.AssetIn("training_rows", metadata=MAY_LACK_PARTITIONS),
            "splits": dg.AssetIn("temporal_split", metadata=MAY_LACK_PARTITIONS),
            **{
                family: dg.AssetIn(f"{family}_model", metadata=MAY_LACK_PARTITIONS, dagster_type=MODELS)
                for family in families
            },
        },
        group_name=GROUP,
        **SHARED,
        kinds={"mlflow", "html"},
        description="The models of every as_of month on the months after it: metrics by month, bankroll against "
        "baselines and equal stakes, decay with age, unseen strategies, significance, and what the promotion policy "
        "would have earned. It reads all as_of months there are, so backfill them first. One HTML page, and one row "
        "per model and month.",
        code_version="1",
        output_required=False,  # after the first month of training there is nothing to judge yet
    )
    def walk_forward_report(
        context: dg.AssetExecutionContext,
        config: WalkForwardConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        splits: dict[str, SplitRecord],
        **models: dict[str, ModelRecord],
    ) -> Iterator[dg.Output[pa.Table]]:
        settings, policy = deployment.settings(), PromotionPolicy(**config.model_dump())
        with step_failures():
            try:
                report = make_report(settings, rows, splits, models, policy)
            except NothingToJudge as nothing:
                # Raise only if this asset was asked for alone: a training must not fail for its sake.
                is_alone = len(context.job_def.asset_layer.selected_asset_keys) == 1
                if is_alone and IF_POSSIBLE_TAG not in context.run.tags:
                    raise
                context.log.warning(f"Not made: {nothing}")
                return
        metadata = stored_metadata({**report_metadata(settings, report.page), **_metadata(report)})
        yield dg.Output(report.table, metadata=metadata)

    return [walk_forward_report]


def _metadata(report: WalkForwardReport) -> Metadata:
    record = report.record
    overfitting = {
        "overfitting_of_choosing_models": record.overfitting_of_models,
        "overfitting_of_choosing_strategies": record.overfitting_of_strategies,
    }
    return {
        "figures": markdown(
            leaderboard_table(record.leaderboard),
            *(report_table(table) for table in report.tables),
            *(picture(png, name) for name, png in report.pictures.items()),
        ),
        "dagster/row_count": report.table.num_rows,
        "as_of_months": len(record.as_ofs),
        "first_as_of": record.as_ofs[0],
        "last_as_of": record.as_ofs[-1],
        "window_of_history": ", ".join(sorted(set(record.windows.values()))),
        "best": record.leaderboard[0].name,
        "summary": report.summary,
        **{name: value for name, value in overfitting.items() if value is not None},
    }
