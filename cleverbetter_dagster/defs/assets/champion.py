"""The champion of an as_of month, and its predictions for every strategy."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.assets.families import StakingConfig
from cleverbetter_dagster.defs.assets.metadata import number, page, table
from cleverbetter_dagster.defs.failures import RETRY_PASSING_FAULTS, clear_failures
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.services.champion.predict import Predictions, predict_and_write
from cleverbetter_dagster.services.champion.promotion import Decision, promote_or_refuse
from cleverbetter_dagster.services.evaluation.checks import CHAMPION_CHECKS, PREDICTION_CHECKS
from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord, PredictionsRecord, SplitRecord
from cleverbetter_dagster.services.training.datasets import rebuild_each, rows_until

GROUP = "champion"
POOL = "champion"
"""One step at a time writes the ledger or predictions."""


class PromotionConfig(PromotionPolicy, dg.Config):
    """What a challenger has to show before it becomes champion."""


def champion_assets(partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The assets `champion` and `strategy_predictions`."""
    return [_champion(partitions), _strategy_predictions(partitions)]


def _champion(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        **by_month(partitions),
        ins={"rows": history_input()},
        group_name=GROUP,
        kinds={"mlflow", "postgres"},
        pool=POOL,
        description=(
            "The challenger against the champion and every baseline on the same test rows. "
            "It is promoted only where "
            "paired intervals show it no worse than the champion and better than each baseline; every "
            "decision is in the ledger."
        ),
        code_version="2",
        retry_policy=RETRY_PASSING_FAULTS,
        check_specs=check_specs(CHAMPION_CHECKS, "champion"),
    )
    def champion(
        context: dg.AssetExecutionContext,
        config: PromotionConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
        model_comparison: dict[str, ComparisonRecord],
    ) -> Iterator[dg.MaterializeResult]:
        policy = PromotionPolicy(**config.model_dump())
        decided: dict[str, ChampionRecord] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                comparison = model_comparison[month]
                decision = promote_or_refuse(deployment.settings(), comparison, dataset, policy, context.run_id)
                context.log.info("\n".join([f"{month}: {decision.record.action}", *decision.record.reasons]))
                context.add_asset_metadata(_decision_metadata(decision), partition_key=month)
                decided[month] = decision.record
        yield dg.MaterializeResult(value=decided, check_results=check_results(CHAMPION_CHECKS, decided))

    return champion


def _strategy_predictions(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        **by_month(partitions),
        ins={"rows": history_input()},
        deps=["champion"],  # asked of the ledger: it has a champion also at months at which nobody was judged
        group_name=GROUP,
        kinds={"postgres"},
        pool=POOL,
        description=(
            "One row per strategy still run: probability that its next window is profitable, "
            "confidence and recommended "
            "stake by the champion of the as_of month. Written to cleverbetter.strategy_predictions. Staking options "
            "given here are kept with the champion."
        ),
        code_version="1",
        retry_policy=RETRY_PASSING_FAULTS,
        check_specs=check_specs(PREDICTION_CHECKS, "strategy_predictions"),
    )
    def strategy_predictions(
        context: dg.AssetExecutionContext,
        config: StakingConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
    ) -> Iterator[dg.MaterializeResult]:
        written: dict[str, PredictionsRecord] = {}
        with clear_failures():
            for month in context.partition_keys:
                as_of = AsOf.parse(month)
                predictions = predict_and_write(deployment.settings(), rows_until(rows, as_of), as_of, config.options())
                context.add_asset_metadata(_prediction_metadata(predictions), partition_key=month)
                written[month] = predictions.record
        yield dg.MaterializeResult(value=written, check_results=check_results(PREDICTION_CHECKS, written))

    return strategy_predictions


def _decision_metadata(decision: Decision) -> dict[str, dg.MetadataValue | str]:
    record = decision.record
    facts: dict[str, dg.MetadataValue | str] = {
        "decision": record.action,
        "challenger": f"{record.challenger_family} v{record.challenger_version}",
        "champion": f"{record.champion_family} v{record.champion_version}" if record.champion_family else "none",
        "reasons": page("\n".join(f"- {reason}" for reason in record.reasons)),
    }
    return facts


def _prediction_metadata(predictions: Predictions) -> dict[str, dg.MetadataValue | float | int | str]:
    record = predictions.record
    best = predictions.frame.head(10)
    shown = [
        {
            "strategy": row["strategy_id"],
            "probability": number(row["probability"]),
            "confidence": number(row["confidence"]),
            "expected return": number(row["expected_return"]),
            "stake": number(row["recommended_stake"]),
        }
        for row in best.to_dict("records")
    ]
    return {
        "dagster/row_count": record.strategies,
        "champion": f"{record.family} v{record.version}" if record.family else "none: nothing was predicted",
        "strategies_with_a_stake": record.staked,
        "total_stake_fraction": record.total_stake_fraction,
        **(record.staking.model_dump() if record.staking else {}),
        "ten_largest_stakes": page(table(shown)),
    }
