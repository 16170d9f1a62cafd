"""The account of what AUC is to be had: the ceiling where it is known, and the verdict's words."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.learning.ensemble.family import Ensemble
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster_tests.benchmarks.tuning.auc_account import Forecast, account, ceiling, shown, verdict
from cleverbetter_dagster_tests.learning.conftest import SMALL, backtest_rows, partition_of


@pytest.fixture(autouse=True)
def _few_worlds(monkeypatch):
    monkeypatch.setattr("cleverbetter_dagster_tests.benchmarks.tuning.auc_account.WORLDS", 20)


def wins(chance: np.ndarray, months: int = 40) -> Examples:
    """One row a strategy and month, profitable with the strategy's chance."""
    strategy = np.repeat(np.arange(len(chance)), months)
    label = np.random.default_rng(0).random(len(strategy)) < chance[strategy]
    return Examples(pd.DataFrame({"strategy_id": strategy, "method": "replay", "label": label.astype(float)}))


def test_where_all_strategies_are_alike_nobody_can_tell_them_apart():
    assert ceiling(wins(np.full(150, 0.4))).point == pytest.approx(0.5, abs=0.05)


def test_the_ceiling_is_the_auc_of_the_true_chances():
    """Chances even in 0..1: P(a positive's exceeds a negative's) = 5/6, from densities 2p and 2(1 - p)."""
    highest = ceiling(wins((np.arange(300) + 0.5) / 300))
    assert highest.point == pytest.approx(5 / 6, abs=0.02)
    assert highest.low < highest.point < highest.high


@pytest.mark.parametrize(
    ("tuned", "other", "words"),
    [(0.76, 0.7, "is reached"), (0.7, 0.76, "only by other months"), (0.7, 0.72, "by none")],
)
def test_the_verdict_says_who_reaches_the_target(tuned, other, words):
    forecasts = [
        Forecast(name, "", Estimate(point=auc, low=auc - 0.1, high=auc + 0.1, level=0.95))
        for name, auc in (("tuned ensemble", tuned), ("other months", other))
    ]
    assert words in verdict(forecasts)


def test_forecasters_are_judged_on_the_same_rows():
    parts, params = partition_of(backtest_rows()), EnsembleParams(**SMALL["ensemble"])
    model = Ensemble().fit(parts.train, parts.validation, SMALL["ensemble"], 0, 1)
    forecasts = account(parts, model, params)
    aucs = {one.forecaster: one.auc for one in forecasts}
    assert list(aucs) == ["tuned ensemble", "other months", "other test months", "line", "ceiling"]
    assert all(auc is not None and 0.6 < auc.point < 1.0 for auc in aucs.values())
    assert shown(forecasts, parts.test).row_count == 5
