"""The champion watched month by month, with the checks that ask for it to be trained again."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.assets.family_metadata import leaderboard_table
from cleverbetter_dagster.defs.assets.metadata import Metadata, interval, markdown, number, picture, table
from cleverbetter_dagster.defs.failures import each_month
from cleverbetter_dagster.defs.partitions import by_month, history_input, whole_history
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.monitoring.checks import MONITORING_CHECKS
from cleverbetter_dagster.services.monitoring.monitor import Monitoring, monitor
from cleverbetter_dagster.services.records import SplitRecord
from cleverbetter_dagster.services.training.datasets import panels_of

GROUP = "evidence"
ASSET = "champion_monitoring"


def monitoring_assets(partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The asset `champion_monitoring` with its checks."""

    @dg.asset(
        **by_month(partitions),
        ins={"rows": history_input(partitions), "splits": history_input(partitions, "temporal_split")},
        deps=[
            dg.AssetDep(asset, partition_mapping=whole_history(partitions))
            for asset in ("champion", "strategy_predictions")
        ],
        group_name=GROUP,
        kinds={"postgres", "python"},
        description="The champion of the month: composite scores over time, drift of its score and features, and its "
        "past predictions against the outcomes since: calibration, return, decay of strategies. One record a month.",
        code_version="2",
        check_specs=check_specs(MONITORING_CHECKS, ASSET),
    )
    def champion_monitoring(
        context: dg.AssetExecutionContext,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        splits: dict[str, SplitRecord],
    ) -> Iterator[dg.MaterializeResult]:
        settings = deployment.settings()
        monitored = (
            (as_of.key, monitor(settings, panels_of(settings, rows, as_of), splits, as_of))
            for as_of in map(AsOf.parse, context.partition_keys)
        )
        records = {month: monitoring.record for month, monitoring in each_month(context, monitored, _metadata).items()}
        newest = max(records)  # only its champion bets
        yield dg.MaterializeResult(
            value=records, check_results=check_results(MONITORING_CHECKS, {newest: records[newest]})
        )

    return [champion_monitoring]


def _metadata(monitoring: Monitoring) -> Metadata:
    record = monitoring.record
    rows = [row for row in (record.own, record.closed) if row is not None]
    figures = {
        "composite_median": record.composite_median,
        "composite_below_0.3": record.composite_below,
        "moved_importance": record.moved_importance,
    }
    drift = [
        {"column": one.column, "distance": number(one.distance, 2), "shift in deviations": number(one.mean_shift, 2)}
        for one in (record.score_drift, *record.feature_drift)
        if one is not None
    ]
    decay = [
        {
            "strategy": one.strategy_id,
            "predictions": one.predictions,
            "backtest": number(one.backtest_return),
            "expected": number(one.expected_return),
            "live": number(one.live_return),
        }
        for one in record.decayed
    ]
    return {
        "report": markdown(
            leaderboard_table(rows) if rows else "No prediction's window has closed yet.",
            table(drift),
            table(decay),
            *(picture(png, name) for name, png in monitoring.pictures.items()),
        ),
        "champion": f"{record.family} v{record.version}" if record.family else "none",
        "new_rows": record.rows,
        "closed_predictions": record.closed.n_rows if record.closed else 0,
        "live_less_backtest_return": interval(record.decay),
        "lead_over_base_rate": interval(record.lead),
        "lead_when_promoted": interval(record.promoted_lead),
        **{name: value for name, value in figures.items() if value is not None},
    }
