"""Luck of scored rows: counted trials, shared months, and a model that does not bet."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.evaluation.significance.sharpe_ratio import SharpeEstimate, expected_maximum_sharpe
from cleverbetter_dagster.services.evaluation.scored_table import scored_table
from cleverbetter_dagster.services.evaluation.significance import luck_of, strategy_returns

MONTHS = pd.date_range("2022-01-31", periods=12, freq="ME", tz="UTC")


def frame(strategies: int = 30, stake: float = 0.01, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = np.repeat(MONTHS, strategies)
    roi = rng.normal(0.02, 0.1, len(times))
    return pd.DataFrame(
        {
            "model": "m",
            "id": [f"r{n}" for n in range(len(times))],
            "strategy_id": np.tile([f"s{n}" for n in range(strategies)], len(MONTHS)),
            "method": "",
            "decision_time": times,
            "label": (roi > 0).astype(float),
            "next_roi": roi,
            "probability": 0.5,
            "stake": stake,
        }
    )


def test_trials_are_the_settings_tried_and_the_independent_strategies() -> None:
    found = luck_of(scored_table([frame()]), "m", tuning_trials=100)
    assert (found.months, found.strategies, found.tuning_trials, found.rows) == (12, 30, 100, 360)
    assert 20 < found.independent_strategies <= 30
    assert found.monthly_sharpe is not None and found.deflated_sharpe is not None
    returns = frame().groupby("decision_time")["next_roi"].sum().to_numpy() * 0.01
    assert found.monthly_sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    normal = SharpeEstimate(found.monthly_sharpe, 12)
    assert expected_maximum_sharpe(100 + found.independent_strategies, 1 / 11) > 0.5 * normal.ratio
    assert found.deflated_sharpe < found.probabilistic_sharpe  # type: ignore[operator]


def test_more_settings_tried_leave_less() -> None:
    table = scored_table([frame()])
    few, many = (luck_of(table, "m", trials).deflated_sharpe for trials in (1, 1000))
    assert many < few  # type: ignore[operator]


def test_strategies_that_are_copies_of_one_count_as_one_and_their_rows_as_one_a_month() -> None:
    rows = frame()
    same = rows.groupby("decision_time")["next_roi"].transform("first")
    found = luck_of(scored_table([rows.assign(next_roi=same, label=(same > 0).astype(float))]), "m", 0)
    assert found.independent_strategies == pytest.approx(1)
    assert found.effective_rows == pytest.approx(12)


def test_a_model_that_does_not_bet_has_no_sharpe_ratio() -> None:
    found = luck_of(scored_table([frame(stake=0.0)]), "m", 5)
    assert (found.monthly_sharpe, found.probabilistic_sharpe, found.deflated_sharpe) == (None, None, None)


def test_only_strategies_with_a_window_in_every_month_are_compared() -> None:
    rows = frame()
    assert strategy_returns(rows).shape == (12, 30)
    assert strategy_returns(rows.drop(index=3)).shape == (12, 29)
