"""What the report on a walk-forward says: every month's models on the rows decided in the month after, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult
from cleverbetter_dagster.evaluation.report import charts
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table, figure, percent


@dataclass(frozen=True)
class WalkedModel:
    """One family or baseline over the months of a walk-forward.

    Attributes:
        months: the months its rows were decided in (`2023-12`), ascending.
        roc_auc, brier: of each of these months; None where not defined.
        allocation: its stakes over all months, replayed.
        promoted: how often it would have been promoted; None for a baseline.
    """

    months: tuple[str, ...]
    roc_auc: tuple[Interval | None, ...]
    brier: tuple[Interval | None, ...]
    allocation: AllocationResult
    promoted: int | None = None


@dataclass(frozen=True)
class WalkForwardView:
    """A walk-forward, ready to be told.

    Attributes:
        summary: the one paragraph: what it says.
        models: by name, the one most is said about first.
        by_month: names of the models drawn month by month, few enough to be told apart; by default all.
        numbers: headline figures, with their intervals.
        tables: what else was found, such as decay with age, or known and unseen strategies apart.
        provenance, command: as in `Report`.
    """

    summary: str
    models: Mapping[str, WalkedModel]
    by_month: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    tables: tuple[Table, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    command: str = ""


def walk_forward_report(view: WalkForwardView) -> Report:
    """The report on a walk-forward."""
    months = sorted({month for model in view.models.values() for month in model.months})
    span = f"{months[0]} to {months[-1]}" if months else "no months"
    drawn = {name: view.models[name] for name in view.by_month or view.models}
    by_month = (
        charts.monthly_chart(
            "ROC AUC by month",
            "Higher is better; the dashed line is chance. 95% intervals by resampling strategies.",
            {name: (model.months, model.roc_auc) for name, model in drawn.items()},
            lambda value: figure(value, 2),
            0.5,
        ),
        charts.monthly_chart(
            "Brier score by month",
            "Lower is better. 95% intervals by resampling strategies.",
            {name: (model.months, model.brier) for name, model in drawn.items()},
            lambda value: figure(value, 2),
        ),
    )
    allocations = {name: model.allocation for name, model in view.models.items()}
    first = next(iter(allocations))
    money = (charts.bankroll_chart(allocations), charts.drawdown_chart(first, allocations[first]))
    text = "Each month's models, judged on the rows decided in the month after: rows they could not have seen."
    return Report(
        title="Walk-forward",
        subtitle=f"{span}, {len(months)} months",
        verdict="What it says",
        tone="plain",
        summary=view.summary,
        sections=(
            Section("The figures", text, numbers=view.numbers, charts=by_month),
            Section("Money", "The stakes of every month, replayed one after the other.", charts=money),
            Section("In numbers", tables=(_table(view.models), *view.tables)),
        ),
        provenance=view.provenance,
        command=view.command,
    )


def _table(models: Mapping[str, WalkedModel]) -> Table:
    lines = tuple(
        (
            name,
            f"{len(model.months)}",
            percent(model.allocation.growth, signed=True),
            percent(model.allocation.metrics.max_drawdown),
            figure(model.allocation.metrics.sharpe_ratio, 2),
            "–" if model.promoted is None else f"{model.promoted}",
        )
        for name, model in models.items()
    )
    alike = len({model.months for model in models.values()}) == 1
    note = "" if alike else "Not all were judged in the same months, so their figures do not compare directly."
    return Table("Over all months", ("model", "months", "growth", "drawdown", "Sharpe ratio", "promoted"), lines, note)
