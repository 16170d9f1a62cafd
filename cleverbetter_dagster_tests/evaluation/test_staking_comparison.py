import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.staking_comparison import (
    ComparisonSpec,
    StakingVerdict,
    compare_staking,
    rule_stakes,
)

TIMES = pd.date_range("2023-01-31", periods=12, freq="ME", tz="UTC")
SPEC = ComparisonSpec(resamples=200)


def judged(agent: np.ndarray, roi: np.ndarray, shrunken: float = 0.1) -> StakingVerdict:
    rules = {"shrunken_kelly": np.full(12, shrunken), "nothing": np.zeros(12)}
    return compare_staking(TIMES, roi, agent, rules, SPEC)


def test_figures_worked_by_hand():
    verdict = judged(np.full((5, 12), 0.5), np.full(12, 0.02))
    agent, _, nothing = verdict.rows
    assert agent.final_bankroll == pytest.approx(1.01**12)
    assert agent.growth.point == pytest.approx(1.01**12 - 1)
    assert (nothing.final_bankroll, nothing.risk_of_ruin, nothing.max_drawdown.point) == (1.0, 0.0, 0.0)
    assert verdict.advantages["shrunken_kelly"].point == pytest.approx(np.log(1.01 / 1.002))
    assert verdict.beats_shrunken_kelly


def test_an_equal_or_worse_agent_does_not_win():
    assert not judged(np.full(12, 0.1), np.full(12, 0.02)).beats_shrunken_kelly
    assert not judged(np.zeros((5, 12)), np.full(12, 0.02)).beats_shrunken_kelly


def test_one_lucky_seed_of_five_is_not_enough():
    agents = np.zeros((5, 12))
    agents[0] = 1.0
    verdict = judged(agents, np.full(12, 0.02), shrunken=0.05)
    assert verdict.advantages["shrunken_kelly"].low < 0 < verdict.advantages["shrunken_kelly"].point
    assert not verdict.beats_shrunken_kelly


def test_losing_half_of_everything_is_ruin_in_every_history():
    assert judged(np.ones(12), np.full(12, -0.2)).rows[0].risk_of_ruin == 1.0


def test_shrunken_kelly_trusts_a_large_edge_more_and_every_rule_keeps_the_bounds():
    probability, magnitudes = np.array([0.9, 0.55]), (np.full(2, 0.2), np.full(2, 0.2))
    spec = StakingSpec(max_stake_fraction=1.0)
    rules = rule_stakes(probability, magnitudes, np.array([0, 1]), spec, windows=12.0)
    kept = rules["shrunken_kelly"][1] / rules["full_kelly"][1]
    mean, variance = 0.02, np.pi / 2 * 0.04 - 0.02**2
    assert kept == pytest.approx(mean**2 / (mean**2 + variance / 12))
    assert all(stake.max() <= 1.0 for stake in rules.values())
    assert rules["nothing"].sum() == 0.0


def test_without_shrunken_kelly_there_is_no_verdict():
    with pytest.raises(InvalidInput, match="shrunken_kelly"):
        compare_staking(TIMES, np.zeros(12), np.zeros(12), {"nothing": np.zeros(12)}, SPEC)
