"""The report on a walk-forward: every month's models on the rows decided in the month after, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from cleverbetter_dagster.evaluation.charts.chart import Chart
from cleverbetter_dagster.evaluation.charts.estimates import decay_chart, monthly_chart
from cleverbetter_dagster.evaluation.charts.money import bankroll_chart, drawdown_chart
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table
from cleverbetter_dagster.evaluation.texts import DASH, decimal, percent


@dataclass(frozen=True)
class WalkedModel:
    """One family, baseline or policy over the months of a walk-forward.

    Attributes:
        months: the months its rows were decided in (`2023-12`), ascending.
        allocation: its stakes over all months, replayed.
        promoted: how often it would have been promoted; None for a baseline.
    """

    months: tuple[str, ...]
    allocation: AllocationResult
    promoted: int | None = None


@dataclass(frozen=True)
class WalkForwardView:
    """What the report on a walk-forward shows.

    Attributes:
        summary: the first paragraph.
        models: by name, the main one first.
        monthly: `roc_auc` and `brier` by model and month, as `monthly_chart` takes them.
        by_month: names of the models drawn month by month; few, so that each line can be followed.
        decay: change of the AUC by age in months, for each family.
        numbers: headline figures, with their intervals.
        tables: further results, such as known and unseen strategies apart.
        provenance, command: as in `Report`.
    """

    summary: str
    models: Mapping[str, WalkedModel]
    monthly: pd.DataFrame
    by_month: tuple[str, ...] = ()
    decay: Mapping[str, Sequence[tuple[int, Estimate | None]]] = field(default_factory=dict)
    numbers: tuple[Number, ...] = ()
    tables: tuple[Table, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    command: str = ""


def walk_forward_charts(view: WalkForwardView) -> dict[str, Chart]:
    """The charts of a walk-forward by name: those of its page and of the UI."""
    monthly, order = view.monthly[view.monthly["model"].isin(view.by_month)], list(view.models)
    return {
        "AUC by month": monthly_chart(monthly, "roc_auc", "AUC by month", order, 0.5),
        "Brier score by month": monthly_chart(monthly, "brier", "Brier score by month", order),
        "bankroll": bankroll_chart({name: model.allocation for name, model in view.models.items()}),
        "drawdown": drawdown_chart(order[0], view.models[order[0]].allocation),
        "decay with age": decay_chart(view.decay),
    }


def walk_forward_report(view: WalkForwardView) -> Report:
    """The report on a walk-forward."""
    months = sorted({month for model in view.models.values() for month in model.months})
    span = f"{months[0]} to {months[-1]}" if months else "no months"
    charts = walk_forward_charts(view)
    text = "Each month's models, judged on the rows decided in the month after: rows they could not have seen."
    return Report(
        title="Walk-forward",
        subtitle=f"{span}, {len(months)} months",
        headline="Summary",
        tone="plain",
        summary=view.summary,
        sections=(
            Section(
                "The figures",
                text,
                numbers=view.numbers,
                charts=(charts["AUC by month"], charts["Brier score by month"]),
            ),
            Section(
                "Money",
                "The stakes of every month, replayed one after the other.",
                charts=(charts["bankroll"], charts["drawdown"]),
            ),
            Section(
                "In numbers", charts=(charts["decay with age"],), tables=(_over_all_months(view.models), *view.tables)
            ),
        ),
        provenance=view.provenance,
        command=view.command,
    )


def _over_all_months(models: Mapping[str, WalkedModel]) -> Table:
    lines = tuple(
        (
            name,
            f"{len(model.months)}",
            percent(model.allocation.growth, signed=True),
            percent(model.allocation.metrics.max_drawdown),
            decimal(model.allocation.metrics.sharpe_ratio, 2),
            DASH if model.promoted is None else f"{model.promoted}",
        )
        for name, model in models.items()
    )
    same_months = len({model.months for model in models.values()}) == 1
    note = "" if same_months else "Not all were judged in the same months, so their figures do not compare directly."
    return Table("Over all months", ("model", "months", "growth", "drawdown", "Sharpe ratio", "promoted"), lines, note)
