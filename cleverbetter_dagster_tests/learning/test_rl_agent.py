import pickle

import numpy as np
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec, allocate
from cleverbetter_dagster.learning.agent_policy import AgentPolicy
from cleverbetter_dagster.learning.agent_training import (
    Agent,
    AgentSpec,
    best_agent,
    checkpoints,
    shares_of,
    train_agents,
    worth_of_returns,
)
from cleverbetter_dagster.learning.betting_world import WorldSpec
from cleverbetter_dagster.learning.decisions import Decisions, KellyMenu, joint_stakes, period_returns
from cleverbetter_dagster.learning.reward import RewardSpec
from cleverbetter_dagster.learning.rl_agent import RlAgent, RlAgentParams
from cleverbetter_dagster_tests.learning.conftest import SMALL

QUICK = AgentSpec(agents=1, total_steps=40_960, checkpoints=2, learning_rate=3e-3, drawdown_weight=0.0, ruin_cost=0.0)
RULES = WorldSpec(reward=RewardSpec(drawdown_weight=0.0, ruin_cost=0.0), episode_times=50)


def toy(win_rate: float, kelly: float = 0.8, times: int = 200) -> Decisions:
    """Bets that double or lose the stake; exactly `win_rate` of them win. The best stake is 2 x win_rate - 1."""
    wins = np.arange(times) < win_rate * times
    roi = np.where(np.random.default_rng(5).permutation(wins), 1.0, -1.0)
    return Decisions(np.ones((times, 1), np.float32), np.full(times, kelly), roi, np.arange(times))


def worth_on(decisions: Decisions):
    def worth(policy: AgentPolicy) -> float:
        stake = shares_of(policy, decisions.features) * decisions.kelly
        return worth_of_returns(period_returns(stake, decisions, 1.0), 0.0)

    return worth


def test_the_best_fraction_of_a_toy_world_is_learned_to_within_one_step():
    decisions = toy(win_rate=0.7)  # best stake 0.4, half of the 0.8 on the menu
    agent = train_agents(decisions, worth_on(decisions), QUICK, RULES, seed=0)[0]
    assert shares_of(agent.policy, decisions.features)[0] == pytest.approx(0.5, abs=0.1001)


@pytest.mark.parametrize("win_rate", [0.5, 0.45])
def test_without_an_edge_nothing_is_staked(win_rate):
    decisions = toy(win_rate)
    agents = train_agents(decisions, worth_on(decisions), QUICK, RULES, seed=0)
    assert shares_of(agents[0].policy, decisions.features).max() <= 0.1
    assert best_agent(agents) is None


def test_equal_seeds_train_equal_agents_and_others_do_not():
    spec = QUICK.model_copy(update={"total_steps": 4096, "checkpoints": 1})
    policies = [checkpoints(toy(0.7), spec, RULES, seed)[0][1] for seed in (1, 1, 2)]
    seen = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    left, same, other = (policy.preferences(seen) for policy in policies)
    np.testing.assert_array_equal(left, same)
    assert not np.array_equal(left, other)


def test_an_agent_worth_nothing_is_not_used():
    policy = AgentPolicy(())
    assert best_agent([]) is None
    assert best_agent([Agent(policy, 1, 10, 0.0)]) is None
    assert best_agent([Agent(policy, 1, 10, -0.1), Agent(policy, 2, 10, 0.2)]).seed == 2


def test_worth_worked_by_hand():
    earned = np.array([0.1, -0.5])
    assert worth_of_returns(earned, 0.0) == pytest.approx(np.log(1.1 * 0.5) / 2)
    assert worth_of_returns(earned, 0.2) == pytest.approx((np.log(1.1 * 0.5) - 0.2 * 0.5) / 2)
    assert worth_of_returns(np.zeros(3), 1.0) == 0.0


def test_whole_shares_are_staked_jointly_as_full_kelly_is():
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(0.0, 0.05, 60), rng.uniform(0.01, 0.1, 60)
    group, spec = np.repeat([0, 1, 2], 20), StakingSpec(kelly_fraction=1.0, max_stake_fraction=0.3)
    ours = joint_stakes(np.ones(60), (mean, variance), group, spec)
    np.testing.assert_allclose(ours, allocate(mean, variance, spec, group), atol=1e-9)
    shares = rng.integers(0, 11, 60) / 10
    stake = joint_stakes(shares, (mean, variance), group, spec)
    assert (np.bincount(group, stake) <= 1 + 1e-9).all()
    assert (stake <= 0.3 * shares + 1e-12).all() and (stake[shares == 0] == 0).all()


def test_the_hurdle_keeps_full_stakes_within_the_bound_on_average():
    mean, variance = np.full(30, 0.1), np.full(30, 0.09)
    menu = KellyMenu.fit(mean, variance, 3, StakingSpec(max_stake_fraction=1.0))
    assert menu.hurdle == pytest.approx(0.09)  # 10 stakes a time of (0.1 - 0.09) / 0.1 each
    assert menu.full(mean, variance).sum() == pytest.approx(3.0)


def test_stakes_are_steps_of_a_capped_kelly_stake(partition):
    model = RlAgent().fit(partition.train, partition.validation, SMALL["rl_agent"], 0, 1)
    said = model.describe(partition.test.X)
    assert said["stake"].between(0, RlAgentParams().max_stake_fraction).all()
    np.testing.assert_allclose(said["kelly_share"] * 10, (said["kelly_share"] * 10).round(), atol=1e-12)
    assert (said["stake"][said["kelly_share"] == 0] == 0).all()
    shares = model.agent_shares(partition.test.X)
    assert shares.shape == (len(partition.test), 1)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.describe(partition.test.X), said)


def test_a_family_whose_agents_only_lose_stakes_nothing(partition, monkeypatch):
    monkeypatch.setattr("cleverbetter_dagster.learning.rl_agent.worth_of_returns", lambda *_: -1.0)
    model = RlAgent().fit(partition.train, partition.validation, SMALL["rl_agent"], 0, 1)
    assert model.chosen is None
    assert (model.describe(partition.test.X)["stake"] == 0).all()
    assert model.report()["agent_stakes"] == "nothing"
