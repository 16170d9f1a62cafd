"""Reports as assets: one a family and one for the comparison, an HTML file for each as_of month."""

from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.defs.champion import GROUP, SCORED
from cleverbetter_dagster.defs.failures import RETRY_PASSING_FAULTS, clear_failures
from cleverbetter_dagster.defs.families import EvaluationConfig
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.datasets import rebuild_each, rows_until
from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord, ReportRecord, SplitRecord
from cleverbetter_dagster.services.reports import report_on_comparison, report_on_family
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking import run_page


def report_assets(families: Sequence[str], partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The reports on every family and on their comparison."""
    return [*(_family_report(family, partitions) for family in families), _comparison_report(families, partitions)]


def _family_report(family: str, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{family}_report",
        **by_month(partitions),
        ins={"rows": history_input(), "evaluations": dg.AssetIn(f"{family}_evaluation", dagster_type=SCORED)},
        group_name=family,
        kinds={"mlflow", "html"},
        description=(
            f"One self-contained HTML page on the {family} of the as_of month: what was decided and why, figures with "
            "intervals, what the probabilities are worth and go by, and which strategies it would back and stop."
        ),
        code_version="1",
        retry_policy=RETRY_PASSING_FAULTS,
    )
    def report(
        context: dg.AssetExecutionContext,
        config: EvaluationConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
        evaluations: dict[str, pa.Table],
        champion: dict[str, ChampionRecord],
    ) -> dict[str, ReportRecord]:
        settings, staking = deployment.settings(), StakingSpec(**config.model_dump())
        made: dict[str, ReportRecord] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                known = rows_until(rows, AsOf.parse(month))
                made[month] = report_on_family(settings, evaluations[month], dataset, known, champion[month], staking)
                context.add_asset_metadata(report_metadata(settings, made[month]), partition_key=month)
        return made

    return report


def _comparison_report(families: Sequence[str], partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        **by_month(partitions),
        ins={family: dg.AssetIn(f"{family}_evaluation", dagster_type=SCORED) for family in families},
        group_name=GROUP,
        kinds={"mlflow", "html"},
        description=(
            "One self-contained HTML page on all families and baselines of the as_of month, and on what became of the "
            "challenger."
        ),
        code_version="1",
        retry_policy=RETRY_PASSING_FAULTS,
    )
    def comparison_report(
        context: dg.AssetExecutionContext,
        deployment: Deployment,
        temporal_split: dict[str, SplitRecord],
        model_comparison: dict[str, ComparisonRecord],
        champion: dict[str, ChampionRecord],
        **evaluations: dict[str, pa.Table],
    ) -> dict[str, ReportRecord]:
        settings = deployment.settings()
        made: dict[str, ReportRecord] = {}
        with clear_failures():
            for month, split in temporal_split.items():
                tables = {family: evaluations[family][month] for family in families}
                made[month] = report_on_comparison(settings, model_comparison[month], tables, champion[month], split)
                context.add_asset_metadata(report_metadata(settings, made[month]), partition_key=month)
        return made

    return comparison_report


def report_metadata(settings: Settings, made: ReportRecord) -> dict[str, dg.MetadataValue | int | str]:
    """A browser opens no file for a page from a server, so the link goes to MLflow, which shows the same page."""
    return {
        "report": dg.MetadataValue.url(run_page(settings, made.run_id, f"reports/{made.kind}.html")),
        "file": dg.MetadataValue.path(made.url),
        "open_with": f"cleverbetter report --kind {made.kind} --as-of {made.as_of}",
        "size_bytes": made.size_bytes,
        "sha256": made.sha256,
    }
