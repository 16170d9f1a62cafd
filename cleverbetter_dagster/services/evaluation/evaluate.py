"""Judges a model and every baseline on the test rows, and registers the model as a version."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.charts.features import importance_chart
from cleverbetter_dagster.evaluation.charts.money import bankroll_chart
from cleverbetter_dagster.evaluation.charts.probabilities import (
    precision_recall_chart,
    probability_chart,
    reliability_chart,
    roc_chart,
)
from cleverbetter_dagster.evaluation.checks import CheckOutcome
from cleverbetter_dagster.evaluation.drift import values_stay
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate, IntervalSpec
from cleverbetter_dagster.evaluation.leaderboard import METRICS, LeaderboardRow, rank_models
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import classification_metrics
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.staking_comparison import StakingComparison
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.learning.model import PROBABILITY, SCORE, FittedModel
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.scored_table import (
    ScoredPart,
    scored_by_model,
    scored_frame,
    scored_part,
    scored_table,
    signed,
    staked,
)
from cleverbetter_dagster.services.evaluation.significance import significance_of
from cleverbetter_dagster.services.evaluation.stakes import agent_stakes, judge_staking, rows_of
from cleverbetter_dagster.services.records import EvaluatedModel, ModelRecord, SignificanceRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.split_checks import newest_panel
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.registry import STAKING_TAG, Registry
from cleverbetter_dagster.store.tracking.runs import reopen_run


@dataclass(frozen=True)
class Evaluation:
    """A model that was judged.

    Attributes:
        table: the test rows as the model and every baseline scored them, signed with the model.
        pictures: as PNG, by name.
        score_drift: whether scores of the newest rows are distributed like those of the training rows.
    """

    model: EvaluatedModel
    table: pa.Table
    leaderboard: list[LeaderboardRow]
    pictures: dict[str, bytes]
    significance: SignificanceRecord
    score_drift: CheckOutcome

    @property
    def scored(self) -> dict[str, ScoredRows]:
        """The test rows as the model and every baseline scored them, by name."""
        return scored_by_model([self.table])


def evaluate(
    settings: Settings, record: ModelRecord, dataset: Dataset, staking: StakingSpec, spec: IntervalSpec
) -> Evaluation:
    """Score the test rows with the stored model, log the results to the model's run, and register the model.

    The version carries `staking`, so that predictions use the same bounds. A model that reuses its parent is judged
    anew; the MLflow run keeps the metrics of its original as_of.
    """
    model = load_model(settings, record.model_uri).fitted
    table = score_test_rows({record.family: model}, dataset, staking)
    scored = scored_by_model([table])
    leaderboard = rank_models(scored, spec)
    pictures = draw(model, scored, record.family)
    significance = significance_of(table, record.family, record.trials)
    metrics = metrics_of(scored[record.family], next(row for row in leaderboard if row.name == record.family))
    own = rows_of(table, record.family)
    comparison = judge_staking(own, own, staking)
    metrics |= significance.metrics()
    if not record.reuses_parent:
        with reopen_run(settings, record.run_id) as run:
            run.log_metrics(metrics)
            for name, picture in pictures.items():
                run.log_file(f"plots/{name}.png", picture)
            run.log_json("leaderboard.json", {"rows": [row.model_dump(mode="json") for row in leaderboard]})
            if comparison is not None:
                run.log_metrics(staking_metrics(comparison))
                run.log_json("staking.json", comparison)
    version = Registry(settings).register(record.run_id, record.family, {STAKING_TAG: staking.model_dump_json()})
    evaluated = EvaluatedModel(
        **record.model_dump(),
        version=version,
        headline=metrics,
        staking=staking,
        staking_comparison=comparison,
    )
    return Evaluation(
        evaluated, signed(table, evaluated), leaderboard, pictures, significance, score_drift(model, dataset)
    )


def score_test_rows(models: dict[str, FittedModel], dataset: Dataset, staking: StakingSpec) -> pa.Table:
    """The test rows as `models` and every baseline score them."""
    parts = dataset.parts
    rows, returns = parts.test.frame, PastReturns.of(dataset.panel)
    frames = []
    for name, model in models.items():
        scores = model.predict_frame(rows)
        agents = agent_stakes(scores, model.agent_shares(rows), rows, staking)
        frames.append(scored_frame(name, rows, scores, staking, returns).assign(**agents))
    return scored_table(frames + [staked([part]) for part in baseline_parts(parts.past, rows, staking, returns)])


def baseline_parts(
    past: Examples, rows: pd.DataFrame, staking: StakingSpec, returns: PastReturns, eligible: Any = None
) -> list[ScoredPart]:
    """The rows as every baseline scores them, each fitted on `past`; `returns` and `eligible` as in `sizing_of`."""
    parts = []
    for name, baseline in BASELINES.items():
        probability = baseline.fit(past).predict_proba(rows)[:, 1]
        scores = pd.DataFrame({PROBABILITY: probability}, index=rows.index)
        parts.append(scored_part(name, rows, scores, staking, eligible, returns))
    return parts


def score_drift(model: FittedModel, dataset: Dataset) -> CheckOutcome:
    """Whether scores of the newest row of every live strategy are distributed like those of the training rows."""
    known, newest = model.predict_frame(dataset.parts.train.X)[SCORE], model.predict_frame(newest_panel(dataset))[SCORE]
    return values_stay(known, newest, "scores of the newest rows and of the training rows")


def metrics_of(rows: ScoredRows, board_row: LeaderboardRow) -> dict[str, float | None]:
    """Every figure of one model under its name in MLflow, with `_low` and `_high` for its interval.

    What the leaderboard has is written as it stands there: its calibration error knows the months.
    """
    metrics: dict[str, float | None] = dict(classification_metrics(rows.label, rows.probability).model_dump())
    metrics |= {f"betting_{name}": value for name, value in allocation_of(rows).metrics.model_dump().items()}
    for name in METRICS:
        metrics |= _ends(name, getattr(board_row, name))
    return metrics


def _ends(name: str, estimate: Estimate) -> dict[str, float | None]:
    if estimate.ends is None:
        return {name: estimate.point}
    return {name: estimate.point, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def staking_metrics(comparison: StakingComparison) -> dict[str, float | None]:
    """The figures of a staking comparison under their names in MLflow."""
    metrics: dict[str, float | None] = {"staking_earns_its_place": float(comparison.earns_its_place)}
    for row in comparison.rows:
        metrics[f"staking_{row.name}_final_bankroll"] = row.final_bankroll
        metrics[f"staking_{row.name}_risk_of_ruin"] = row.risk_of_ruin
        metrics |= _ends(f"staking_{row.name}_growth", row.growth)
        metrics[f"staking_{row.name}_max_drawdown"] = row.max_drawdown
    for rule, advantage in comparison.advantages.items():
        metrics |= _ends(f"staking_monthly_log_growth_over_{rule}", advantage)
    return metrics


def draw(model: FittedModel, scored: dict[str, ScoredRows], family: str) -> dict[str, bytes]:
    """The pictures of one evaluation as PNG, by name."""
    rows = scored[family]
    charts = {
        "reliability": reliability_chart(rows),
        "probabilities": probability_chart(rows.label, rows.probability),
        "roc": roc_chart(scored),
        "precision_recall": precision_recall_chart(scored),
        "bankroll": bankroll_chart({name: allocation_of(model_rows) for name, model_rows in scored.items()}),
        "feature_importance": importance_chart(model.feature_importance()),
    }
    return {name: png(chart) for name, chart in charts.items()}
