"""The walk-forward report: from stored rows, splits and models to a monthly table, a summary and a page."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.report.view import Number, Table, with_interval
from cleverbetter_dagster.evaluation.report.walk_forward import (
    WalkedModel,
    WalkForwardView,
    walk_forward_charts,
    walk_forward_report,
)
from cleverbetter_dagster.evaluation.texts import percent
from cleverbetter_dagster.services.evaluation.scored_table import MODEL
from cleverbetter_dagster.services.records import ModelRecord, ReportRecord, SplitRecord
from cleverbetter_dagster.services.reports.store import WALK_FORWARD, save_report
from cleverbetter_dagster.services.training.datasets import data_hash, rows_until
from cleverbetter_dagster.services.walk_forward.figures import by_model, figures_of, monthly_scores
from cleverbetter_dagster.services.walk_forward.promotion_replay import LoadedModel
from cleverbetter_dagster.services.walk_forward.records import WalkForwardRecord
from cleverbetter_dagster.services.walk_forward.study import (
    EQUAL_STAKES,
    MONTH,
    OVERALL_POLICY,
    Load,
    Walk,
    alone,
    walk_forward,
)
from cleverbetter_dagster.services.walk_forward.tables import tables_of
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.registry import Registry

RECORD_METADATA = b"cleverbetter.walk_forward"
"""Key of the table's metadata that holds every figure as JSON."""


@dataclass(frozen=True)
class WalkForwardReport:
    """A finished report.

    Attributes:
        table: the monthly frame, with the record in its metadata.
        pictures: as PNG, by name.
        summary: three sentences.
        page: where the HTML page is.
    """

    table: pa.Table
    record: WalkForwardRecord
    tables: tuple[Table, ...]
    pictures: dict[str, bytes]
    summary: str
    page: ReportRecord


def make_report(
    settings: Settings,
    rows: Mapping[str, pa.Table],
    splits: Mapping[str, SplitRecord],
    models: Mapping[str, Mapping[str, ModelRecord]],
    policy: PromotionPolicy,
) -> WalkForwardReport:
    """Run the walk-forward study over all as_of months that have a split and models, and store its HTML page.

    In MLflow the page is stored with the newest model of the best family.

    Raises:
        DataError: no rows, or a month between rows is missing; `NothingToJudge` as `walk_forward`.
    """
    if not rows:
        raise DataError(
            f"There are no training_rows in {settings.artefacts_base}. If you mean another home: `dagster` commands "
            "typed in the project's folder take the DAGSTER_HOME of its .env. Otherwise materialise training_rows for "
            "the months that have rows."
        )
    known, present = rows_until(rows, AsOf.parse(max(rows))), {name: one for name, one in models.items() if one}
    walk = walk_forward(known, splits, present, _loader(settings), policy)
    monthly = monthly_scores(walk)
    record = figures_of(walk, monthly, present, data_hash(known))
    table = pa.Table.from_pandas(monthly, preserve_index=False)
    signed = table.replace_schema_metadata({**(table.schema.metadata or {}), RECORD_METADATA: record.model_dump_json()})
    view = walk_forward_view(walk, record, monthly, models, policy)
    best = present[record.families[0]]
    page = save_report(settings, WALK_FORWARD, record.as_ofs[-1], walk_forward_report(view), best[max(best)].run_id)
    pictures = {name: png(chart) for name, chart in walk_forward_charts(view).items()}
    return WalkForwardReport(signed, record, view.tables, pictures, view.summary, page)


def walk_forward_view(
    walk: Walk,
    record: WalkForwardRecord,
    monthly: pd.DataFrame,
    models: Mapping[str, Mapping[str, ModelRecord]],
    policy: PromotionPolicy,
) -> WalkForwardView:
    """What the page on a walk-forward shows.

    Args:
        walk, record, monthly: the study, its figures and its frame by month.
        models: by family, then by as_of; the page names a family without any.
        policy: the one that was replayed.
    """
    families, baselines = record.families, record.baselines
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
        tables=tables_of(record),
        provenance=_provenance(record, models),
        command=_command(policy),
    )


def summary_of(record: WalkForwardRecord) -> str:
    """What the walk-forward says, in three sentences."""
    by_name = {row.name: row for row in record.leaderboard}
    family, baseline, equal = by_name[record.families[0]], by_name[record.baselines[0]], by_name[EQUAL_STAKES]
    skill, policy = record.significance[family.name], record.replays[0]
    oldest = max((step for step in record.decay if step.family == family.name), key=lambda step: step.age)
    lead = f" (a paired difference of {record.lead})" if record.lead else ""
    decay = f"; {oldest.age} months old its AUC differs by {oldest.auc_change}" if oldest.auc_change else ""
    return (
        f"Over {family.n_months} months after {record.as_ofs[0]} to {record.as_ofs[-1]} the best family, "
        f"{family.name}, had a Brier score of {family.brier} against {baseline.brier} of the best baseline, "
        f"{baseline.name}{lead}, and an AUC within months of {family.auc_within_months}{decay}. "
        f"Its stakes grew the bankroll by {family.growth} where equal stakes gave {equal.growth}; the probability that "
        f"its Sharpe ratio is above zero is {_number(skill.probabilistic_sharpe)}, above the luckiest of all trials "
        f"{_number(skill.deflated_sharpe)}. "
        f"The promotion policy would have promoted {policy.promotions} of {len(policy.decisions)} challengers and "
        f"{_growth(policy.row)}; choosing the best strategy by its past is overfitted with "
        f"probability {_number(record.overfitting_of_strategies)}."
    )


def _loader(settings: Settings) -> Load:
    """Loads models with the staking bounds that their versions carry."""
    bounds = {version.run_id: version.staking_spec for version in Registry(settings).list_versions()}

    def load(record: ModelRecord) -> LoadedModel:
        fitted = load_model(settings, record.model_uri).fitted
        return LoadedModel(record, fitted, bounds.get(record.run_id) or StakingSpec())

    return load


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
    by_name = {row.name: row for row in record.leaderboard}
    own, skill, equal = by_name[family], record.significance[family], by_name[EQUAL_STAKES]
    policy = record.replays[0]
    return (
        with_interval(f"AUC within months of {family}", own.auc_within_months),
        with_interval("Brier score", own.brier, 4),
        with_interval("Return on stakes", own.roi, as_percent=True),
        with_interval("Growth of the bankroll", own.growth, as_percent=True),
        with_interval("Growth with equal stakes", equal.growth, as_percent=True),
        with_interval("Growth by the policy", policy.row.growth if policy.row else None, as_percent=True),
        Number("Sharpe ratio above 0", percent(skill.probabilistic_sharpe), "probability"),
        Number("Above the luckiest trial", percent(skill.deflated_sharpe),
               f"settings tried: {skill.tuning_trials}, independent strategies: {skill.independent_strategies:.0f}"),
        Number("Choosing a model is overfitted", percent(record.overfitting_of_models), "probability"),
        Number("Choosing a strategy is overfitted", percent(record.overfitting_of_strategies), "probability"),
    )  # fmt: skip


def _growth(row: LeaderboardRow | None) -> str:
    if row is None:
        return "earned nothing: it promoted no model"
    return f"grown the bankroll by {row.growth} in the {row.n_months} months with a champion"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


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
        "PYTHONWARNINGS=ignore dagster asset materialize -m cleverbetter_dagster.definitions \\\n"
        "  --select walk_forward_report \\\n"
        f"  --config-json {shlex.quote(json.dumps(config))}"
    )
