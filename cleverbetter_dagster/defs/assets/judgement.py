"""The comparison of all families as of a month: the leaderboard and the challenger."""

from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.defs.assets.family_metadata import board_table
from cleverbetter_dagster.defs.assets.metadata import page, picture, staking_page
from cleverbetter_dagster.defs.failures import clear_failures
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
        description=(
            "Leaderboard of all families and baselines on the test rows of the as_of month; the best family challenges."
        ),
        code_version="2",
    )
    def model_comparison(
        context: dg.AssetExecutionContext, **evaluations: dict[str, pa.Table]
    ) -> dict[str, ComparisonRecord]:
        compared: dict[str, Comparison] = {}
        with clear_failures():
            for month in context.partition_keys:
                compared[month] = compare_families({family: tables[month] for family, tables in evaluations.items()})
                context.add_asset_metadata(_comparison_metadata(compared[month]), partition_key=month)
        return {month: comparison.record for month, comparison in compared.items()}

    return model_comparison


def _comparison_metadata(comparison: Comparison) -> dict[str, dg.MetadataValue | str]:
    record, pictures = comparison.record, [picture(png, name) for name, png in comparison.pictures.items()]
    found: dict[str, dg.MetadataValue | str] = {}
    if record.passed_over:
        lines = [f"- **{family}**: {reason}" for family, reasons in record.passed_over.items() for reason in reasons]
        found["passed_over"] = page("\n".join(lines))
    if record.broken_guards:
        lines = [f"- **{family}**: {told}" for family, broken in record.broken_guards.items() for told in broken]
        found["broken_guards"] = page("\n".join(lines))
    found |= {f"staking_of_{family}": staking_page(record.staking_verdicts(family)) for family in record.staking}
    return {
        "challenger": record.challenger,
        **found,
        "leaderboard": page(board_table(comparison.board), *pictures),
    }
