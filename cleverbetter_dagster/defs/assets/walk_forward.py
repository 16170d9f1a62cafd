"""The walk-forward report: all as_of partitions of every family's models, together, on the months after them."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.defs.assets.config import WalkForwardConfig
from cleverbetter_dagster.defs.assets.family_metadata import leaderboard_table, significance_table
from cleverbetter_dagster.defs.assets.metadata import interval, markdown, number, picture, report_metadata, table
from cleverbetter_dagster.defs.failures import step_failures
from cleverbetter_dagster.defs.partitions import MAY_LACK_PARTITIONS, SHARED
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.errors import NothingToJudge
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord
from cleverbetter_dagster.services.walk_forward.records import WalkForwardRecord
from cleverbetter_dagster.services.walk_forward.report import Report, report

GROUP = "evidence"
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
        description=(
            "Every as_of's models on the months after it: metrics by month, bankroll against baselines and equal "
            "stakes, decay with age, unseen strategies, significance, and what the promotion policy would have earned. "
            "Gathers whatever as_of partitions exist; backfill them first. One HTML page, and one row per model and "
            "month."
        ),
        code_version="1",
        output_required=False,  # after the first month that is trained at, there is nothing to judge yet
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
                found = report(settings, rows, splits, models, policy)
            except NothingToJudge as nothing:
                # Raise only if this asset was materialised alone: a month's training must not fail for its sake.
                if len(context.job_def.asset_layer.selected_asset_keys) == 1:
                    raise
                context.log.warning(f"Not made: {nothing}")
                return
        yield dg.Output(found.table, metadata={**report_metadata(settings, found.page), **_metadata(found)})

    return [walk_forward_report]


def _metadata(found: Report) -> dict[str, dg.MetadataValue | float | int | str]:
    record = found.record
    facts: dict[str, dg.MetadataValue | float | int | str] = {
        "figures": markdown(
            leaderboard_table(list(record.board)),
            *(f"**{family}**\n\n{significance_table(one)}" for family, one in record.significance.items()),
            table([_replay_line(record, position) for position in range(len(record.replays))]),
            table(_stability_lines(record)),
            table(_familiarity_lines(record)),
            table(_filter_lines(record)),
            *(picture(png, name) for name, png in found.pictures.items()),
        ),
        "dagster/row_count": found.table.num_rows,
        "as_of_months": len(record.as_ofs),
        "first_as_of": record.as_ofs[0],
        "last_as_of": record.as_ofs[-1],
        "window_of_history": ", ".join(sorted(set(record.windows.values()))),
        "best": record.board[0].name,
        "summary": found.summary,
    }
    overfitting = {
        "overfitting_of_choosing_models": record.overfitting_of_models,
        "overfitting_of_choosing_strategies": record.overfitting_of_strategies,
    }
    return facts | {name: value for name, value in overfitting.items() if value is not None}


def _replay_line(record: WalkForwardRecord, position: int) -> dict[str, Any]:
    replay = record.replays[position]
    board = replay.board
    return {
        "promotion policy": replay.policy,
        "challengers": len(replay.decisions),
        "promoted": replay.promotions,
        "months with a champion": board.n_months if board else 0,
        "growth": interval(board.growth if board else None, 3),
        "roi": interval(board.roi if board else None, 3),
    }


def _stability_lines(record: WalkForwardRecord) -> list[dict[str, Any]]:
    return [
        {
            "family": found.family,
            "months": found.months,
            "deviation of AUC": number(found.auc_deviation, 3),
            "months above chance": number(found.above_chance, 2),
            "months beating every baseline": number(found.beating_baselines, 2),
            "worst month": f"{found.worst_month} ({found.worst_return:+.1%})",
            "rank agreement of successive models": number(found.rank_agreement, 2),
        }
        for found in record.stability
    ]


def _familiarity_lines(record: WalkForwardRecord) -> list[dict[str, Any]]:
    return [
        {
            "family": found.family,
            "strategies": f"{found.strategies} {'never seen' if found.unseen else 'learned from'}",
            "rows": found.board.n_rows if found.board else 0,
            "AUC": interval(found.board.roc_auc if found.board else None, 3),
            "Brier score": interval(found.board.brier if found.board else None, 3),
            "roi": interval(found.board.roi if found.board else None, 3),
        }
        for found in record.familiarity
    ]


def _filter_lines(record: WalkForwardRecord) -> list[dict[str, Any]]:
    return [
        {
            "family": family,
            "rows the quality filter removes": f"{effect.removed} of {effect.rows}",
            "profitable": f"{effect.base_rate:.3f}, kept {interval(effect.base_rate_change, 3)}",
            "mean return": f"{effect.mean_return:.4f}, kept {interval(effect.mean_return_change)}",
            "AUC": f"{number(effect.roc_auc, 3)}, kept {interval(effect.roc_auc_change, 3)}",
        }
        for family, effect in record.filter_effects.items()
    ]
