"""Reports as assets: one a family and one for the comparison, an HTML file for each as_of month."""

from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.defs.assets.judgement import SCORED
from cleverbetter_dagster.defs.assets.metadata import report_metadata
from cleverbetter_dagster.defs.failures import RETRY_PASSING_FAULTS, clear_failures
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord, ReportRecord, SplitRecord
from cleverbetter_dagster.services.reports.store import report_on_comparison, report_on_family
from cleverbetter_dagster.services.training.datasets import rebuild_each, rows_until

GROUP = "reports"
DECISIONS = dg.AssetIn("champion", metadata={"may_lack_partitions": True})
"""A report is made as well where nobody decided yet, as in a backfill of months, and says so."""


def report_assets(families: Sequence[str], partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The reports on every family and on their comparison."""
    return [*(_family_report(family, partitions) for family in families), _comparison_report(families, partitions)]


def _family_report(family: str, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{family}_report",
        **by_month(partitions),
        ins={
            "rows": history_input(),
            "evaluations": dg.AssetIn(f"{family}_evaluation", dagster_type=SCORED),
            "decisions": DECISIONS,
        },
        group_name=GROUP,
        kinds={"mlflow", "html"},
        description=(
            f"One self-contained HTML page on the {family} of the as_of month: what was decided and why, figures with "
            "intervals, what the probabilities are worth and go by, and which strategies it would back and stop."
        ),
        code_version="2",
        retry_policy=RETRY_PASSING_FAULTS,
    )
    def report(
        context: dg.AssetExecutionContext,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
        evaluations: dict[str, pa.Table],
        decisions: dict[str, ChampionRecord],
    ) -> dict[str, ReportRecord]:
        settings = deployment.settings()
        made: dict[str, ReportRecord] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                known = rows_until(rows, AsOf.parse(month))
                made[month] = report_on_family(settings, evaluations[month], dataset, known, decisions.get(month))
                context.add_asset_metadata(report_metadata(settings, made[month]), partition_key=month)
        return made

    return report


def _comparison_report(families: Sequence[str], partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        **by_month(partitions),
        ins={
            **{family: dg.AssetIn(f"{family}_evaluation", dagster_type=SCORED) for family in families},
            "decisions": DECISIONS,
        },
        group_name=GROUP,
        kinds={"mlflow", "html"},
        description=(
            "One self-contained HTML page on all families and baselines of the as_of month, and on what became of the "
            "challenger."
        ),
        code_version="2",
        retry_policy=RETRY_PASSING_FAULTS,
    )
    def comparison_report(
        context: dg.AssetExecutionContext,
        deployment: Deployment,
        temporal_split: dict[str, SplitRecord],
        model_comparison: dict[str, ComparisonRecord],
        decisions: dict[str, ChampionRecord],
        **evaluations: dict[str, pa.Table],
    ) -> dict[str, ReportRecord]:
        settings = deployment.settings()
        made: dict[str, ReportRecord] = {}
        with clear_failures():
            for month, split in temporal_split.items():
                tables = {family: evaluations[family][month] for family in families}
                made[month] = report_on_comparison(
                    settings, model_comparison[month], tables, decisions.get(month), split
                )
                context.add_asset_metadata(report_metadata(settings, made[month]), partition_key=month)
        return made

    return comparison_report
