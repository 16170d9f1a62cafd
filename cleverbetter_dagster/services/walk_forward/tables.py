"""The tables of a walk-forward, shown on its page and in the UI."""

from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.report.view import Number, Table, with_interval
from cleverbetter_dagster.evaluation.texts import DASH, decimal, percent
from cleverbetter_dagster.services.walk_forward.records import WalkForwardRecord

SHOWN_AGES = (1, 2, 3, 6, 9, 12)
"""In months; the record has every age."""

Line = tuple[str | Number, ...]


def tables_of(record: WalkForwardRecord) -> tuple[Table, ...]:
    """Every table of a walk-forward."""
    return (
        _decay(record),
        _unseen_strategies(record),
        _stability(record),
        _significance(record),
        _filters(record),
        _policies(record),
        _decisions(record),
    )


def _decay(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            f"{step.family}, {step.age}",
            f"{step.months}",
            f"{step.rows:,}",
            with_interval("", step.auc_within_months),
            _change(step.auc_change),
            _change(step.brier_change),
        )
        for step in record.decay
        if step.age in SHOWN_AGES
    ]
    headings = (
        "family, age in months",
        "months",
        "rows",
        "AUC within months",
        "change of AUC",
        "change of Brier score",
    )
    note = (
        "Changes are against models one month old on the same rows. "
        "A lower AUC is worse, and so is a higher Brier score."
    )
    return Table("Decay with age", headings, tuple(lines), note)


def _unseen_strategies(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            f"{part.family}, {'never seen' if part.unseen else 'learned from'}",
            f"{part.strategies:,}",
            f"{part.row.n_rows if part.row else 0:,}",
            with_interval("", part.row.auc_within_months) if part.row else DASH,
            with_interval("", part.row.brier, 4) if part.row else DASH,
            with_interval("", part.row.roi, as_percent=True) if part.row else DASH,
        )
        for part in record.familiarity
    ]
    headings = ("strategies", "number", "rows", "AUC within months", "Brier score", "return on stakes")
    return Table("Known and unseen strategies", headings, tuple(lines))


def _stability(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            one.family,
            decimal(one.auc_deviation),
            percent(one.above_chance, 0),
            percent(one.beating_baselines, 0),
            Number("", percent(one.worst_return, signed=True), one.worst_month),
            decimal(one.rank_agreement, 2),
        )
        for one in record.stability
    ]
    headings = ("family", "deviation of AUC", "months above chance", "months beating every baseline", "worst month",
                "agreement of successive models")  # fmt: skip
    note = "Agreement is the mean rank correlation between models one and two months old on the same rows."
    return Table("Stability", headings, tuple(lines), note)


def _significance(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            family,
            decimal(one.monthly_sharpe, 2),
            percent(one.probabilistic_sharpe),
            percent(one.deflated_sharpe),
            f"{one.tuning_trials}",
            Number("", f"{one.independent_strategies:.0f}", f"of {one.strategies}"),
            Number("", f"{one.effective_rows:,.0f}", f"of {one.rows:,}"),
        )
        for family, one in record.significance.items()
    ]
    headings = ("family", "monthly Sharpe ratio", "above 0", "above the luckiest", "settings tried",
                "independent strategies", "independent rows")  # fmt: skip
    note = "Probabilistic and deflated Sharpe ratio of the monthly returns. Strategies bet on the same races, so they, "
    return Table("Statistical significance", headings, tuple(lines), note + "and rows, count for fewer than there are.")


def _filters(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            family,
            Number("", f"{one.removed:,}", f"of {one.rows:,}"),
            _changed(one.base_rate, one.base_rate_change),
            _changed(one.mean_return, one.mean_return_change),
            _changed(one.auc_within_months, one.auc_within_months_change),
        )
        for family, one in record.filter_effects.items()
    ]
    headings = ("family", "rows removed", "profitable windows", "mean return", "AUC within months")
    note = "Figures of all rows, and how they change if only rows that pass the filter are kept."
    return Table("What the quality filter changes", headings, tuple(lines), note)


def _policies(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            one.policy,
            f"{one.promotions} of {len(one.decisions)}",
            f"{one.row.n_months if one.row else 0}",
            with_interval("", one.row.growth, as_percent=True) if one.row else DASH,
            with_interval("", one.row.roi, as_percent=True) if one.row else DASH,
        )
        for one in record.replays
    ]
    headings = ("policy", "promoted", "months with a champion", "growth", "return on stakes")
    return Table("What the promotion policy would have earned", headings, tuple(lines))


def _decisions(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            one.as_of,
            one.challenger,
            one.action,
            f"{one.champion} of {one.champion_as_of}" if one.champion else "none",
        )
        for one in record.replays[0].decisions
    ]
    return Table("Its decisions", ("as_of", "challenger", "decision", "champion afterwards"), tuple(lines))


def _change(change: Estimate | None) -> str | Number:
    return DASH if change is None else with_interval("", change, 4)


def _changed(value: float | None, change: Estimate) -> Number:
    return Number("", decimal(value), str(change))
