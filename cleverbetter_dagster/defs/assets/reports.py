"""Reports as assets: one for each family and one for the comparison, an HTML file for each as_of month."""

from collections.abc import Iterator, Sequence

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.defs.assets.judgement import SCORED
from cleverbetter_dagster.defs.assets.metadata import report_metadata
from cleverbetter_dagster.defs.failures import each_month
from cleverbetter_dagster.defs.partitions import MAY_LACK_PARTITIONS, by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord, ReportRecord, SplitRecord
from cleverbetter_dagster.services.reports.store import report_on_comparison, report_on_family
from cleverbetter_dagster.services.training.datasets import panels_of, rebuild_each

GROUP = "reports"
DECISIONS = dg.AssetIn("champion", metadata=MAY_LACK_PARTITIONS)
"""A month without a decision, as in a backfill, has a report too, which says so."""


def report_assets(families: Sequence[str], partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The reports on every family and on their comparison."""
    return [*(_family_report(family, partitions) for family in families), _comparison_report(families, partitions)]


def _family_report(family: str, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{family}_report",
        **by_month(partitions),
        ins={
            "rows": history_input(partitions),
            "evaluations": dg.AssetIn(f"{family}_evaluation", dagster_type=SCORED),
            "decisions": DECISIONS,
        },
        group_name=GROUP,
        kinds={"mlflow", "html"},
        description=f"One self-contained HTML page on the {family} of the as_of month: the decision and its reasons, "
        "figures with intervals, what its probabilities are worth and rely on, and which strategies it would back and "
        "stop.",
        code_version="2",
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

        def reports() -> Iterator[tuple[str, ReportRecord]]:
            for month, dataset in rebuild_each(settings, rows, temporal_split):
                known = panels_of(settings, rows, AsOf.parse(month))
                yield month, report_on_family(settings, evaluations[month], dataset, known, decisions.get(month))

        return each_month(context, reports(), lambda record: report_metadata(settings, record))

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
        description="One self-contained HTML page on all families and baselines of the as_of month, and on the "
        "decision about the challenger.",
        code_version="2",
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

        def reports() -> Iterator[tuple[str, ReportRecord]]:
            for month, split in temporal_split.items():
                tables = {family: evaluations[family][month] for family in families}
                comparison, decision = model_comparison[month], decisions.get(month)
                yield month, report_on_comparison(settings, comparison, tables, decision, split)

        return each_month(context, reports(), lambda record: report_metadata(settings, record))

    return comparison_report
