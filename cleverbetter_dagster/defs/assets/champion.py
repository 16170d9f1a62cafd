"""The champion of an as_of month, and its predictions for every strategy."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.assets.config import PromotionConfig, StakingConfig
from cleverbetter_dagster.defs.assets.metadata import Metadata, bullets, markdown, number, table
from cleverbetter_dagster.defs.failures import each_month
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.services.champion.predict import Predictions, predict_and_write
from cleverbetter_dagster.services.champion.promotion import promote_or_refuse
from cleverbetter_dagster.services.evaluation.checks import CHAMPION_CHECKS, PREDICTION_CHECKS
from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord, SplitRecord
from cleverbetter_dagster.services.training.datasets import panels_of, rebuild_each

GROUP = "champion"
POOL = "champion"
"""One step at a time writes the ledger or predictions."""


def champion_assets(partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The assets `champion` and `strategy_predictions`."""
    return [_champion(partitions), _strategy_predictions(partitions)]


def _champion(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        **by_month(partitions),
        ins={"rows": history_input(partitions)},
        group_name=GROUP,
        kinds={"mlflow", "postgres"},
        pool=POOL,
        description="The challenger against the champion and every baseline on the same test rows. It is promoted only "
        "if paired intervals show that it is no worse than the champion and better than each baseline. Every decision "
        "is in the ledger.",
        code_version="2",
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
        settings, policy = deployment.settings(), PromotionPolicy(**config.model_dump())

        def decided() -> Iterator[tuple[str, ChampionRecord]]:
            for month, dataset in rebuild_each(settings, rows, temporal_split):
                comparison = model_comparison[month]
                record = promote_or_refuse(settings, comparison, dataset, policy, context.run_id)
                context.log.info("\n".join([f"{month}: {record.action}", *record.reasons]))
                yield month, record

        records = each_month(context, decided(), _decision_metadata)
        yield dg.MaterializeResult(value=records, check_results=check_results(CHAMPION_CHECKS, records))

    return champion


def _strategy_predictions(partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        **by_month(partitions),
        ins={"rows": history_input(partitions)},
        deps=["champion"],  # read from the ledger, which has a champion also for months without a decision
        group_name=GROUP,
        kinds={"postgres"},
        pool=POOL,
        description="One row per live strategy: the probability that its next window is profitable, the confidence and "
        "the recommended stake, by the champion of the as_of month. Written to cleverbetter.strategy_predictions. "
        "Staking options set here are kept with the champion.",
        code_version="1",
        check_specs=check_specs(PREDICTION_CHECKS, "strategy_predictions"),
    )
    def strategy_predictions(
        context: dg.AssetExecutionContext,
        config: StakingConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
    ) -> Iterator[dg.MaterializeResult]:
        settings = deployment.settings()
        predicted = (
            (as_of.key, predict_and_write(settings, panels_of(settings, rows, as_of), as_of, config.options()))
            for as_of in map(AsOf.parse, context.partition_keys)
        )
        predictions = each_month(context, predicted, _prediction_metadata)
        records = {month: prediction.record for month, prediction in predictions.items()}
        yield dg.MaterializeResult(value=records, check_results=check_results(PREDICTION_CHECKS, records))

    return strategy_predictions


def _decision_metadata(record: ChampionRecord) -> Metadata:
    return {
        "decision": record.action,
        "challenger": f"{record.challenger_family} v{record.challenger_version}",
        "champion": f"{record.champion_family} v{record.champion_version}" if record.champion_family else "none",
        "reasons": markdown(bullets(record.reasons)),
    }


def _prediction_metadata(predictions: Predictions) -> Metadata:
    record, columns = predictions.record, ["probability", "confidence", "expected_return", "recommended_stake"]
    largest = [
        {"strategy": row["strategy_id"], **{column.replace("_", " "): number(row[column]) for column in columns}}
        for row in predictions.frame.head(10).to_dict("records")
    ]
    return {
        "dagster/row_count": record.strategies,
        "champion": f"{record.family} v{record.version}" if record.family else "none: nothing was predicted",
        "strategies_with_a_stake": record.staked,
        "total_stake_fraction": record.total_stake_fraction,
        "open_stake_fraction": record.open_stake_fraction,
        "exposure": markdown(table([{name.replace("_", " "): value for name, value in predictions.exposure}])),
        **(record.staking.model_dump() if record.staking else {}),
        "features_that_no_row_has": ", ".join(record.unmeasured_features) or "none",
        "ten_largest_stakes": markdown(table(largest)),
    }
