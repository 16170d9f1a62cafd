"""The walk-forward report: from stored rows, splits and models to one table that carries its figures."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.allocation import allocation_of
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
from cleverbetter_dagster.evaluation.plots import bankroll_plot
from cleverbetter_dagster.evaluation.walk_forward_plots import decay_plot, metric_by_month
from cleverbetter_dagster.services.datasets import data_hash, rows_until
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord, WalkForwardRecord
from cleverbetter_dagster.services.scored_table import MODEL
from cleverbetter_dagster.services.walk_forward import AGE, JUDGED, Walk, walk_forward
from cleverbetter_dagster.services.walk_forward_figures import by_model, figures_of, monthly_scores
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.model_package import load_model

RECORD_METADATA = b"cleverbetter.walk_forward"
EQUAL_STAKES = "base_rate"
"""The baseline that says the same of every strategy, and so stakes equally on all."""


@dataclass(frozen=True)
class Report:
    """The monthly table with its record in it, the record, pictures as PNG by name, and three sentences."""

    table: pa.Table
    record: WalkForwardRecord
    pictures: dict[str, bytes]
    summary: str


def report(
    settings: Settings,
    rows: Mapping[str, pa.Table],
    splits: Mapping[str, SplitRecord],
    models: Mapping[str, Mapping[str, ModelRecord]],
    policy: PromotionPolicy,
) -> Report:
    """The walk-forward study over whatever as_of months have a split and models.

    Raises:
        DataError: no rows, a month between rows is missing, or no model can be judged (see `walk_forward`).
    """
    if not rows:
        raise DataError("training_rows holds no month. Materialise training_rows for the months that have rows.")
    known = rows_until(rows, AsOf.parse(max(rows)))
    walk = walk_forward(known, splits, models, lambda model: load_model(settings, model.model_uri).fitted, policy)
    record = figures_of(walk, models, data_hash(known))
    monthly = monthly_scores(walk)
    table = pa.Table.from_pandas(monthly, preserve_index=False)
    signed = table.replace_schema_metadata({**(table.schema.metadata or {}), RECORD_METADATA: record.model_dump_json()})
    return Report(signed, record, pictures_of(walk, record, monthly), summary_of(record))


def walk_forward_record(table: pa.Table) -> WalkForwardRecord:
    """The record that the table of `walk_forward_report` carries.

    Raises:
        DataError: it carries none.
    """
    text = (table.schema.metadata or {}).get(RECORD_METADATA)
    if text is None:
        raise DataError("The table carries no walk-forward record. Materialise walk_forward_report again.")
    return WalkForwardRecord.model_validate_json(text)


def pictures_of(walk: Walk, record: WalkForwardRecord, monthly: pd.DataFrame) -> dict[str, bytes]:
    """The pictures of a walk-forward as PNG, by name; families in full colour before baselines."""
    families = [row.name for row in record.board if row.name in record.luck]
    baselines = [row.name for row in record.board if row.name not in record.luck]
    policies = [replay.policy for replay in record.replays[:1]]
    order = {name: position for position, name in enumerate([*families, *policies, *baselines])}
    drawn = monthly[monthly[MODEL].isin([*families, *baselines])].sort_values(
        MODEL, key=lambda names: names.map(order), kind="stable"
    )
    informed = drawn[drawn[MODEL] != EQUAL_STAKES]
    scored = by_model(walk.scores[(walk.scores[AGE] == 1) & walk.scores[JUDGED]])
    allocations = {name: allocation_of(scored[name]) for name in order if name in scored}
    changes = {
        stability.family: [(step.age, step.auc_change) for step in record.decay if step.family == stability.family]
        for stability in record.stability
    }
    band = "of models a month old; bands: 95% by resampling strategies"
    return {
        "AUC by month": metric_by_month(informed, "roc_auc", "AUC by month", band, 0.5),
        "Brier score by month": metric_by_month(
            drawn, "brier", "Brier score by month", f"{band}; lower is better", None
        ),
        "bankroll": bankroll_plot(allocations),
        "decay with age": decay_plot(changes),
    }


def summary_of(record: WalkForwardRecord) -> str:
    """What the walk-forward says, in three sentences."""
    family = next(row for row in record.board if row.name in record.luck)
    baseline = next(row for row in record.board if row.name not in record.luck)
    equal = next(row for row in record.board if row.name == EQUAL_STAKES)
    luck, policy = record.luck[family.name], record.replays[0]
    oldest = max((step for step in record.decay if step.family == family.name), key=lambda step: step.age)
    decay = f"; {oldest.age} months old its AUC differs by {oldest.auc_change}" if oldest.auc_change else ""
    return (
        f"Over {family.n_months} months after {record.as_ofs[0]} to {record.as_ofs[-1]} the best family, "
        f"{family.name}, had a Brier score of {family.brier} against {baseline.brier} of the best baseline, "
        f"{baseline.name}, and an AUC of {family.roc_auc}{decay}. "
        f"Its stakes grew the bankroll by {family.growth} where equal stakes gave {equal.growth}; the probability that "
        f"its Sharpe ratio is above zero is {_number(luck.probabilistic_sharpe)}, above the luckiest of all trials "
        f"{_number(luck.deflated_sharpe)}. "
        f"The promotion policy would have promoted {policy.promotions} of {len(policy.decisions)} challengers and "
        f"grown the bankroll by {_growth(policy.board)}; choosing the best strategy by its past is overfitted with "
        f"probability {_number(record.overfitting_of_strategies)}."
    )


def _growth(board: LeaderboardRow | None) -> str:
    return "nothing, having promoted nobody" if board is None else str(board.growth)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
