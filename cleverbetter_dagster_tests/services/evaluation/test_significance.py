"""Significance of scored rows: counted trials, shared months, and a model that does not bet."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.evaluation.significance.sharpe_ratio import SharpeEstimate, expected_maximum_sharpe
from cleverbetter_dagster.services.evaluation.scored_table import scored_table
from cleverbetter_dagster.services.evaluation.significance import significance_of, strategy_returns

MONTHS = pd.date_range("2022-01-31", periods=12, freq="ME", tz="UTC")


def frame(strategies: int = 30, stake: float = 0.01, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = pd.DatetimeIndex(np.repeat(MONTHS, strategies))
    roi = rng.normal(0.02, 0.1, len(times))
    return pd.DataFrame(
        {
            "model": "m",
            "id": [f"r{n}" for n in range(len(times))],
            "strategy_id": np.tile([f"s{n}" for n in range(strategies)], len(MONTHS)),
            "method": "",
            "decision_time": times,
            "next_start": times,
            "label_time": times + pd.offsets.MonthEnd(1),
            "label": (roi > 0).astype(float),
            "next_roi": roi,
            "probability": 0.5,
            "stake": stake,
        }
    )


def test_trials_are_the_settings_tried_and_the_independent_strategies() -> None:
    skill = significance_of(scored_table([frame()]), "m", tuning_trials=100)
    assert (skill.months, skill.strategies, skill.tuning_trials, skill.rows) == (12, 30, 100, 360)
    assert 20 < skill.independent_strategies <= 30
    assert skill.monthly_sharpe is not None and skill.deflated_sharpe is not None
    returns = frame().groupby("decision_time")["next_roi"].sum().to_numpy() * 0.01
    assert skill.monthly_sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    normal = SharpeEstimate(skill.monthly_sharpe, 12)
    assert expected_maximum_sharpe(100 + skill.independent_strategies, 1 / 11) > 0.5 * normal.ratio
    assert skill.deflated_sharpe < skill.probabilistic_sharpe  # type: ignore[operator]


def test_more_settings_tried_leave_less() -> None:
    table = scored_table([frame()])
    few, many = (significance_of(table, "m", trials).deflated_sharpe for trials in (1, 1000))
    assert many < few  # type: ignore[operator]


def test_copies_of_one_strategy_count_as_one() -> None:
    rows = frame()
    same = rows.groupby("decision_time")["next_roi"].transform("first")
    skill = significance_of(scored_table([rows.assign(next_roi=same, label=(same > 0).astype(float))]), "m", 0)
    assert skill.independent_strategies == pytest.approx(1)
    assert skill.effective_rows == pytest.approx(12)


def test_a_model_that_does_not_bet_has_no_sharpe_ratio() -> None:
    skill = significance_of(scored_table([frame(stake=0.0)]), "m", 5)
    assert (skill.monthly_sharpe, skill.probabilistic_sharpe, skill.deflated_sharpe) == (None, None, None)


def test_only_strategies_with_a_window_in_every_month_are_compared() -> None:
    rows = frame()
    assert strategy_returns(rows).shape == (12, 30)
    assert strategy_returns(rows.drop(index=3)).shape == (12, 29)
