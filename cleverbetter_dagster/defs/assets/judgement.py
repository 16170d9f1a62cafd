"""The comparison of all families as of a month: the leaderboard and the challenger."""

from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.defs.assets.family_metadata import leaderboard_table
from cleverbetter_dagster.defs.assets.metadata import Metadata, bullets, markdown, picture, staking_tables
from cleverbetter_dagster.defs.failures import each_month
from cleverbetter_dagster.defs.partitions import by_month
from cleverbetter_dagster.services.evaluation.compare import Comparison, compare_families
from cleverbetter_dagster.services.records import ComparisonRecord

GROUP = "judgement"
SCORED = dg.DagsterType(lambda _, value: isinstance(value, dict), name="ScoredRows", typing_type=dict[str, pa.Table])


def model_comparison(families: Sequence[str], partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `model_comparison`."""

    @dg.asset(
        **by_month(partitions),
        ins={family: dg.AssetIn(f"{family}_evaluation", dagster_type=SCORED) for family in families},
        group_name=GROUP,
        kinds={"python"},
        description="Leaderboard of all families and baselines on the test rows of the as_of month. The best family is "
        "the challenger.",
        code_version="2",
    )
    def model_comparison(
        context: dg.AssetExecutionContext, **evaluations: dict[str, pa.Table]
    ) -> dict[str, ComparisonRecord]:
        compared = (
            (month, compare_families({family: tables[month] for family, tables in evaluations.items()}))
            for month in context.partition_keys
        )
        comparisons = each_month(context, compared, _metadata)
        return {month: comparison.record for month, comparison in comparisons.items()}

    return model_comparison


def _metadata(comparison: Comparison) -> Metadata:
    record, pictures = comparison.record, [picture(png, name) for name, png in comparison.pictures.items()]
    reasons = {"passed_over": record.passed_over, "broken_guards": record.broken_guards}
    return {
        "challenger": record.challenger,
        **{name: markdown(_reason_list(families)) for name, families in reasons.items() if families},
        **{f"staking_of_{family}": staking_tables(record.staking_comparisons(family)) for family in record.staking},
        "leaderboard": markdown(leaderboard_table(record.leaderboard), *pictures),
    }


def _reason_list(reasons: Mapping[str, Sequence[str]]) -> str:
    return bullets(f"{family}: {reason}" for family, lines in reasons.items() for reason in lines)
