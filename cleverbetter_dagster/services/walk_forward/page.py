"""The walk-forward study as a page for people: from scored rows, figures and monthly frame to a view."""

import json
import shlex
from collections.abc import Mapping, Sequence

import pandas as pd

from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.report.view import Number, Table, with_interval
from cleverbetter_dagster.evaluation.report.walk_forward import WalkedModel, WalkForwardView
from cleverbetter_dagster.evaluation.texts import DASH, decimal, percent
from cleverbetter_dagster.services.evaluation.scored_table import MODEL
from cleverbetter_dagster.services.records import ModelRecord
from cleverbetter_dagster.services.walk_forward.figures import by_model
from cleverbetter_dagster.services.walk_forward.records import WalkForwardRecord
from cleverbetter_dagster.services.walk_forward.study import (
    EQUAL_STAKES,
    MONTH,
    OVERALL_POLICY,
    Walk,
    alone,
)
from cleverbetter_dagster.services.walk_forward.summary import summary_of

SHOWN_AGES = (1, 2, 3, 6, 9, 12)
"""In months; the record has every age."""

Line = tuple[str | Number, ...]


def walk_forward_view(
    walk: Walk,
    record: WalkForwardRecord,
    monthly: pd.DataFrame,
    models: Mapping[str, Mapping[str, ModelRecord]],
    policy: PromotionPolicy,
) -> WalkForwardView:
    """What the page on a walk-forward says.

    Args:
        walk, record, monthly: the study, its figures and its frame by month.
        models: by family, then by as_of; a family without any is named as such.
        policy: that was replayed.
    """
    families = [row.name for row in record.board if row.name in record.significance]
    baselines = [row.name for row in record.board if row.name not in record.significance]
    informed = [name for name in baselines if name != EQUAL_STAKES]
    return WalkForwardView(
        summary=summary_of(record),
        models=_walked(walk, record, monthly, [*families, OVERALL_POLICY, *baselines]),
        monthly=monthly,
        by_month=(*families, *informed[:1]),
        decay={
            family: [(step.age, step.auc_change) for step in record.decay if step.family == family]
            for family in families
        },
        numbers=_numbers(record, families[0]),
        tables=(
            _decay(record),
            _familiarity(record),
            _stability(record),
            _significance(record),
            _filters(record),
            _policies(record),
            _decisions(record),
        ),
        provenance=_provenance(record, models),
        command=_command(policy),
    )


def _walked(
    walk: Walk, record: WalkForwardRecord, monthly: pd.DataFrame, order: Sequence[str]
) -> dict[str, WalkedModel]:
    scored = by_model(walk.fresh)
    promotions = {replay.policy: replay.promotions for replay in record.replays}
    walked = {}
    for name in order:
        if name not in scored:  # a policy that never promoted has staked nothing
            continue
        walked[name] = WalkedModel(
            months=tuple(monthly.loc[monthly[MODEL] == name, MONTH]),
            allocation=allocation_of(scored[name]),
            promoted=promotions.get(name, promotions.get(alone(name))),
        )
    return walked


def _numbers(record: WalkForwardRecord, family: str) -> tuple[Number, ...]:
    board = {row.name: row for row in record.board}
    own, skill, equal = board[family], record.significance[family], board[EQUAL_STAKES]
    policy = record.replays[0]
    return (
        with_interval(f"AUC of {family}", own.roc_auc),
        with_interval("Brier score", own.brier, 4),
        with_interval("Return on stakes", own.roi, as_percent=True),
        with_interval("Growth of the bankroll", own.growth, as_percent=True),
        with_interval("Growth with equal stakes", equal.growth, as_percent=True),
        with_interval("Growth by the policy", policy.board.growth if policy.board else None, as_percent=True),
        Number("Sharpe ratio above 0", percent(skill.probabilistic_sharpe), "probability"),
        Number("Above the luckiest trial", percent(skill.deflated_sharpe), f"of {_settings(skill.tuning_trials)} "
               f"and {skill.independent_strategies:.0f} independent strategies"),
        Number("Choosing a model is overfitted", percent(record.overfitting_of_models), "probability"),
        Number("Choosing a strategy is overfitted", percent(record.overfitting_of_strategies), "probability"),
    )  # fmt: skip


def _settings(count: int) -> str:
    return f"{count} {'setting' if count == 1 else 'settings'}"


def _decay(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            f"{step.family}, {step.age}",
            f"{step.months}",
            f"{step.rows:,}",
            with_interval("", step.roc_auc),
            _change(step.auc_change),
            _change(step.brier_change),
        )
        for step in record.decay
        if step.age in SHOWN_AGES
    ]
    headings = ("family, age in months", "months", "rows", "AUC", "change of AUC", "change of Brier score")
    note = "Changes are against models one month old on the same rows; a negative AUC, a positive Brier score is worse."
    return Table("Decay with age", headings, tuple(lines), note)


def _familiarity(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            f"{part.family}, {'never seen' if part.unseen else 'learned from'}",
            f"{part.strategies:,}",
            f"{part.board.n_rows if part.board else 0:,}",
            with_interval("", part.board.roc_auc) if part.board else DASH,
            with_interval("", part.board.brier, 4) if part.board else DASH,
            with_interval("", part.board.roi, as_percent=True) if part.board else DASH,
        )
        for part in record.familiarity
    ]
    headings = ("strategies", "number", "rows", "AUC", "Brier score", "return on stakes")
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
    note = "Agreement is the mean rank correlation of what models one and two months old say of the same rows."
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
            _change(one.base_rate_change),
            _change(one.mean_return_change),
            _change(one.roc_auc_change),
        )
        for family, one in record.filter_effects.items()
    ]
    headings = ("family", "rows removed", "profitable windows", "mean return", "AUC")
    return Table("What keeping only rows of high quality changes", headings, tuple(lines))


def _policies(record: WalkForwardRecord) -> Table:
    lines: list[Line] = [
        (
            one.policy,
            f"{one.promotions} of {len(one.decisions)}",
            f"{one.board.n_months if one.board else 0}",
            with_interval("", one.board.growth, as_percent=True) if one.board else DASH,
            with_interval("", one.board.roi, as_percent=True) if one.board else DASH,
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
    return Table("Its decisions", ("as_of", "challenger", "decision", "champion from then on"), tuple(lines))


def _change(interval: Interval | None) -> str | Number:
    return DASH if interval is None else with_interval("", interval, 4)


def _provenance(
    record: WalkForwardRecord, models: Mapping[str, Mapping[str, ModelRecord]]
) -> tuple[tuple[str, str], ...]:
    counts = [f"{family}: {len(known) or 'none, so it is left out'}" for family, known in models.items()]
    return (
        ("Rows", f"hash {record.data_hash}"),
        ("As_of months", f"{len(record.as_ofs)}, {record.as_ofs[0]} to {record.as_ofs[-1]}"),
        ("History", ", ".join(sorted(set(record.windows.values())))),
        ("Models", "; ".join(counts)),
    )


def _command(policy: PromotionPolicy) -> str:
    config = {"ops": {"walk_forward_report": {"config": policy.model_dump(mode="json")}}}
    return (
        "dagster asset materialize -m cleverbetter_dagster.definitions --select walk_forward_report \\\n"
        f"  --config-json {shlex.quote(json.dumps(config))}"
    )
