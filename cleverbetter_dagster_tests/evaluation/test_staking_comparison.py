import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.betting.open_stakes import Windows
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.staking_comparison import (
    ComparisonSpec,
    StakedRows,
    StakingComparison,
    compare_staking,
    rule_stakes,
)

WINDOWS = Windows.consecutive(pd.date_range("2023-01-31", periods=12, freq="ME"))
SPEC = ComparisonSpec(resamples=200)


def rows(roi: np.ndarray) -> StakedRows:
    half = np.full(len(roi), 0.5)
    return StakedRows(WINDOWS.take(np.arange(len(roi))), half, half, half, roi)


def judged(agent: np.ndarray, roi: np.ndarray, shrunken: float = 0.1, half: float = 0.1) -> StakingComparison:
    n = len(roi)
    rules = {"shrunken_kelly": np.full(n, shrunken), "half_kelly": np.full(n, half), "nothing": np.zeros(n)}
    return compare_staking(rows(roi), agent, rules, "itself", SPEC)


def test_figures_worked_by_hand():
    comparison = judged(np.full((5, 12), 0.5), np.full(12, 0.02))
    agent, _, _, nothing = comparison.rows
    assert agent.final_bankroll == pytest.approx(1.01**12)
    assert agent.growth.point == pytest.approx(1.01**12 - 1)
    assert (nothing.final_bankroll, nothing.risk_of_ruin, nothing.max_drawdown) == (1.0, 0.0, 0.0)
    assert comparison.advantages["shrunken_kelly"].point == pytest.approx(np.log(1.01 / 1.002))
    assert comparison.seeds == 5
    assert comparison.earns_its_place


def test_an_equal_or_worse_agent_does_not_earn_its_place():
    assert not judged(np.full((1, 12), 0.1), np.full(12, 0.02)).earns_its_place
    assert not judged(np.zeros((5, 12)), np.full(12, 0.02)).earns_its_place


def test_both_rules_must_be_beaten():
    comparison = judged(np.full((5, 12), 0.5), np.full(12, 0.02), half=0.6)
    assert not comparison.earns_its_place
    first, second = comparison.outcomes()
    assert (first.passed, second.passed) == (True, False)
    assert "beats shrunken kelly on the probability of itself" in first.message
    assert "not shown to beat half kelly" in second.message
    assert "5 seeds" in second.message


def test_one_lucky_seed_of_five_is_not_enough():
    agents = np.zeros((5, 12))
    agents[0] = 1.0
    comparison = judged(agents, np.full(12, 0.02), shrunken=0.05)
    assert comparison.advantages["shrunken_kelly"].low < 0 < comparison.advantages["shrunken_kelly"].point
    assert not comparison.earns_its_place


def test_a_single_month_proves_nothing():
    comparison = judged(np.full((5, 1), 0.5), np.full(1, 0.02))
    assert not comparison.earns_its_place
    assert "1 month; 95% needs 6" in comparison.outcomes()[0].message


def test_losing_half_is_ruin_in_every_history():
    assert judged(np.ones((1, 12)), np.full(12, -0.2)).rows[0].risk_of_ruin == 1.0


def test_shrunken_kelly_trusts_a_large_edge_more():
    staked = StakedRows(
        WINDOWS.take(np.arange(2)), np.array([0.9, 0.55]), np.full(2, 0.2), np.full(2, 0.2), np.zeros(2)
    )
    rules = rule_stakes(staked, StakingSpec(max_stake_fraction=1.0), 12.0)
    trust = rules["shrunken_kelly"][1] / rules["full_kelly"][1]
    mean, variance = 0.02, np.pi / 2 * 0.04 - 0.02**2
    assert trust == pytest.approx(mean**2 / (mean**2 + variance / 12))
    assert rules["half_kelly"][1] == pytest.approx(rules["full_kelly"][1] / 2)
    assert all(stake.max() <= 1.0 for stake in rules.values())
    assert rules["nothing"].sum() == 0.0


def test_without_the_rules_to_beat_nothing_is_compared():
    with pytest.raises(InvalidInput, match="shrunken_kelly and no half_kelly"):
        compare_staking(rows(np.zeros(12)), np.zeros((1, 12)), {"nothing": np.zeros(12)}, "itself", SPEC)
