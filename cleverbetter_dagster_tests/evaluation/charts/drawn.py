"""Every chart, drawn from usual numbers and from the few a first month has."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.evaluation.charts import estimates, features, money, probabilities, rows, study
from cleverbetter_dagster.evaluation.charts.chart import Chart
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster_tests.evaluation.scored import scored_rows, simulated_models

MODELS = simulated_models()
ONE_ROW = {"alone": scored_rows([0.4], [1])}
GOOD = MODELS["good"].label, MODELS["good"].probability
ALLOCATIONS = {name: allocation_of(rows) for name, rows in MODELS.items()}
EVIL = '<script>alert("x")</script>& $\\frac$'
FEW, NONE = Estimate.without("3 months", 0.95, 0.7), Estimate.without("no stakes", 0.95)
BETWEEN = Estimate(point=0.7, low=0.6, high=0.8, level=0.95)
VALUES = pd.DataFrame(np.random.default_rng(0).normal(0, 0.05, (60, 3)), columns=["odds", EVIL, "age"])
MONTHS = ["2023-01", "2023-02"]


def monthly(*names: str) -> pd.DataFrame:
    """Two months of each model; the AUC of the second is not defined."""
    lines = [
        {"model": name, "month": month, "roc_auc": auc, "roc_auc_low": auc - 0.1, "roc_auc_high": auc + 0.1,
         "brier": 0.2, "brier_low": 0.1, "brier_high": 0.3}
        for name in names for month, auc in zip(MONTHS, (0.7, np.nan), strict=True)
    ]  # fmt: skip
    return pd.DataFrame(lines)


def examples_by_month(months: int) -> pd.DataFrame:
    index = pd.date_range("2022-01-01", periods=months, freq="MS", tz="UTC")
    return pd.DataFrame({"train": 3, "validation": 0, "test": 2, "purged": 1}, index=index)


def composite(months: int) -> pd.DataFrame:
    index = [str(month) for month in pd.period_range("2022-01", periods=months, freq="M")]
    return pd.DataFrame({"low": 0.3, "median": 0.5, "high": 0.7, "below": 0.1}, index=index)


NOTED: dict[str, Chart] = {
    "reliability": probabilities.reliability_chart(MODELS["good"]),
    "probabilities": probabilities.probability_chart(*GOOD),
    "roc": probabilities.roc_chart(MODELS),
    "precision and recall": probabilities.precision_recall_chart(MODELS),
    "bankroll": money.bankroll_chart(ALLOCATIONS),
    "drawdown": money.drawdown_chart("good", ALLOCATIONS["good"]),
    "impact": features.impact_chart(VALUES, VALUES),
    "forest": estimates.forest_chart("AUC", "c", [(EVIL, BETWEEN), ("few months", FEW), ("none", NONE)], str),
    "monthly": estimates.monthly_chart(monthly(EVIL, "fair"), "brier", "Brier", [EVIL, "absent", "fair"]),
    "decay": estimates.decay_chart({EVIL: [(1, BETWEEN), (2, FEW), (3, None)], "none": [(1, None)]}),
}
"""Charts whose points have notes."""

CHARTS: dict[str, Chart] = NOTED | {
    "reliability of one row": probabilities.reliability_chart(ONE_ROW["alone"]),
    "reliability of a constant": probabilities.reliability_chart(scored_rows([0.0] * 3, [1, 0, 0])),
    "probabilities of one row": probabilities.probability_chart([1], [0.0]),
    "roc of one class": probabilities.roc_chart(ONE_ROW),
    "precision and recall of one row": probabilities.precision_recall_chart(ONE_ROW),
    "bankroll of one decision": money.bankroll_chart({"alone": allocation_of(ONE_ROW["alone"])}),
    "drawdown of one decision": money.drawdown_chart("alone", allocation_of(ONE_ROW["alone"])),
    "importance": features.importance_chart(pd.Series(np.arange(40.0), index=[f"f{i}" for i in range(39)] + [EVIL])),
    "importance of nothing": features.importance_chart(pd.Series([0.0], index=["a"])),
    "months without a metric": estimates.monthly_chart(monthly("good"), "roc_auc", "AUC", ["good"], 0.5),
    "no model in any month": estimates.monthly_chart(monthly("good"), "brier", "Brier", []),
    "forest without an interval": estimates.forest_chart("AUC", "c", [("few months", FEW), ("none", NONE)], str),
    "decay of nothing": estimates.decay_chart({}),
    "split": rows.split_chart(examples_by_month(30)),
    "split of one month": rows.split_chart(examples_by_month(1)),
    "composite": rows.composite_chart(composite(36)),
    "composite of one month": rows.composite_chart(composite(1)),
    "history": study.history_chart([0.7, None, 0.72, 0.71], 0.7, "auc"),
    "history of losses": study.history_chart([0.7, 0.5], 0.7, "log_loss", maximise=False),
    "history of one trial": study.history_chart([0.7], 0.7, "auc"),
    "history of pruned trials": study.history_chart([None, None], 0.7, "another"),
    "parameters": study.parameter_chart({"depth": 0.8, "rate": 0.2}, "auc"),
    "parameter of nothing": study.parameter_chart({"depth": 0.0}, "brier"),
}
