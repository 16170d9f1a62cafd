from dataclasses import replace

import numpy as np
import pytest

from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.family import FittedRlAgent, RlAgent
from cleverbetter_dagster.learning.rl_agent.params import RlAgentParams
from cleverbetter_dagster.learning.rl_agent.policy import ACTOR, AgentPolicy
from cleverbetter_dagster.learning.rl_agent.training import (
    Agent,
    best_agent,
    checkpoints,
    refresh_agents,
    shares_of,
    train_agents,
    worth_of,
    worth_of_returns,
)
from cleverbetter_dagster_tests.learning.conftest import SMALL
from cleverbetter_dagster_tests.learning.rl_agent.plain_env import windows

QUICK = RlAgentParams(
    agents=1,
    total_steps=32_768,
    checkpoints=2,
    learning_rate=3e-3,
    drawdown_weight=0.0,
    ruin_cost=0.0,
    episode_times=50,
    max_stake_fraction=1.0,
)
SHORT = QUICK.model_copy(update={"total_steps": 4096, "checkpoints": 1})


def toy(win_rate: float, kelly: float = 0.8, times: int = 200) -> Decisions:
    """Bets that double or lose the stake; exactly `win_rate` of them win. The best stake is 2 x win_rate - 1.

    What the agent is told of them says that all of `kelly` should be staked.
    """
    wins = np.arange(times) < win_rate * times
    roi = np.where(np.random.default_rng(5).permutation(wins), 1.0, -1.0)
    mean = np.full(times, kelly)
    return Decisions(*windows(np.arange(times)), np.ones((times, 1), np.float32), mean, 1.0 - mean**2, roi)


def small(win_rate: float) -> Decisions:
    """The same with bets that win or lose 3% of the stake."""
    decisions = toy(win_rate)
    return replace(decisions, next_roi=0.03 * decisions.next_roi)


@pytest.fixture(scope="module")
def fitted(partition) -> FittedRlAgent:
    return RlAgent().fit(partition.train, partition.validation, SMALL["rl_agent"], 0, 1)


def constant(step: int, features: int) -> AgentPolicy:
    """A policy that always takes one step."""
    weights = {f"{layer}.weight": np.zeros((1, 1), np.float32) for layer in ACTOR}
    biases = {f"{layer}.bias": np.zeros(1, np.float32) for layer in ACTOR}
    weights |= {f"{ACTOR[0]}.weight": np.zeros((1, features), np.float32)}
    weights |= {f"{ACTOR[-1]}.weight": np.zeros((11, 1), np.float32)}
    return AgentPolicy(weights | biases | {f"{ACTOR[-1]}.bias": np.eye(11, dtype=np.float32)[step]})


def test_the_best_fraction_is_learned_to_within_one_step():
    decisions = toy(win_rate=0.7)  # best stake 0.4, half of the 0.8 that a whole share is
    (agent,) = train_agents(decisions, decisions, QUICK, seed=0)
    assert shares_of(agent.policy, decisions.features)[0] == pytest.approx(0.5, abs=0.1001)


@pytest.mark.parametrize("win_rate", [0.5, 0.45])
def test_without_an_edge_nothing_is_staked(win_rate):
    decisions = toy(win_rate)
    agents = train_agents(decisions, decisions, QUICK, seed=0)
    assert shares_of(agents[0].policy, decisions.features).max() <= 0.1
    assert best_agent(agents) is None
    assert (agents[0].shares(decisions.features) == 0).all()


def test_equal_seeds_train_equal_agents_and_others_do_not():
    policies = [checkpoints(toy(0.7), SHORT, seed)[0][1] for seed in (1, 1, 2)]
    seen = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    left, same, other = (policy.preferences(seen) for policy in policies)
    np.testing.assert_array_equal(left, same)
    assert not np.array_equal(left, other)


def test_training_leaves_nothing_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    checkpoints(toy(0.7), SHORT, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_goes_on_begins_with_all_it_had():
    [(_, policy)] = checkpoints(toy(0.7), SHORT, seed=1)
    no_step = SHORT.model_copy(update={"total_steps": 1, "learning_rate": 1e-30})
    [(_, again)] = checkpoints(toy(0.7), no_step, 2, policy)
    assert any(name.startswith("value_net") for name in policy.weights)
    for name, weights in policy.weights.items():
        np.testing.assert_allclose(again.weights[name], weights, atol=1e-12)


def test_an_agent_trained_further_is_never_worth_less():
    """Steps far too large, in a history gone bad, teach it not to stake: it stays as it was."""
    agents = train_agents(toy(0.7), toy(0.7), SHORT, seed=0)
    judged, wild = toy(0.7), SHORT.model_copy(update={"learning_rate": 1.0, "total_steps": 32_768})
    (refreshed,) = refresh_agents(agents, toy(0.1), judged, wild, seed=1)
    assert refreshed.policy is agents[0].policy
    assert refreshed.worth == worth_of(agents[0].policy, judged, wild) > 0


def test_agents_trained_further_learn_from_the_new_history():
    """Gentle steps add up, also while the preferred step stays: where bets win more often, more is preferred."""

    def preferred(agent: Agent) -> float:
        logits = agent.policy.preferences(np.ones((1, 7), np.float32))[0]
        return float(np.exp(logits) @ np.arange(11) / np.exp(logits).sum())

    (agent,) = train_agents(small(0.8), small(0.8), SHORT, seed=0)
    (refreshed,) = refresh_agents((agent,), small(0.9), small(0.9), SHORT, seed=1)
    assert preferred(refreshed) > preferred(agent) + 0.1


def test_every_agent_and_update_has_its_own_draws():
    [agent] = train_agents(small(0.8), small(0.8), SHORT, seed=0)
    twin = replace(agent, seed=agent.seed + 1)
    once = refresh_agents((agent, twin, agent), small(0.9), small(0.9), SHORT, seed=2**40)
    assert [found.seed for found in once] == [agent.seed, twin.seed, agent.seed]
    assert all(found.steps_trained == agent.steps_trained + 4096 for found in once)
    assert same(once[0], once[2]) and not same(once[0], once[1])
    later = refresh_agents((replace(agent, steps_trained=9999),), small(0.9), small(0.9), SHORT, seed=2**40)
    assert not same(once[0], later[0])


def test_of_equals_the_agent_that_went_on_is_taken(monkeypatch):
    [agent] = train_agents(small(0.8), small(0.8), SHORT, seed=0)
    monkeypatch.setattr("cleverbetter_dagster.learning.rl_agent.training.worth_of", lambda *_: 0.5)
    [refreshed] = refresh_agents((agent,), small(0.9), small(0.9), SHORT, seed=1)
    assert refreshed.steps_trained == agent.steps_trained + 4096


def same(left: Agent, right: Agent) -> bool:
    """Whether two agents prefer the same."""
    seen = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    return bool(np.array_equal(left.policy.preferences(seen), right.policy.preferences(seen)))


def test_an_agent_worth_nothing_is_not_used():
    policy = AgentPolicy({})
    assert best_agent([]) is None
    assert best_agent([Agent(policy, 1, 10, 0.0)]) is None
    best = best_agent([Agent(policy, 1, 10, -0.1), Agent(policy, 2, 10, 0.2)])
    assert best is not None
    assert best.seed == 2


def test_without_rows_there_are_no_agents():
    some, none = toy(0.7), toy(0.7).take(np.empty(0, dtype=int))
    assert train_agents(none, some, SHORT, 0) == train_agents(some, none, SHORT, 0) == ()


def test_worth_worked_by_hand():
    earned = np.array([0.1, -0.5])
    assert worth_of_returns(earned) == pytest.approx(np.log(1.1 * 0.5) / 2)
    assert worth_of_returns(earned, 0.2) == pytest.approx((np.log(1.1 * 0.5) - 0.2 * 0.5) / 2)
    assert worth_of_returns(np.zeros(3), 1.0) == 0.0


def test_a_policy_worked_by_hand():
    decisions = toy(0.7)
    assert (shares_of(constant(5, 7), decisions.features) == 0.5).all()
    # 0.4 of the bankroll on bets of which 7 in 10 win.
    expected = 0.7 * np.log(1.4) + 0.3 * np.log(0.6)
    assert worth_of(constant(5, 7), decisions, QUICK) == pytest.approx(expected)


def test_shares_are_steps_and_every_seed_has_a_column(fitted, partition):
    X = partition.test.X
    share = fitted.predict_frame(X)["kelly_share"]
    assert share.between(0, 1).all()
    np.testing.assert_allclose(share * 10, (share * 10).round(), atol=1e-12)
    agents = fitted.agent_shares(X)
    assert agents.shape == (len(X), SMALL["rl_agent"]["agents"])
    if fitted.chosen is not None:
        np.testing.assert_array_equal(agents[f"seed {fitted.chosen.seed}"], share)


def test_a_family_whose_agents_only_lose_stakes_nothing(partition, monkeypatch):
    monkeypatch.setattr("cleverbetter_dagster.learning.rl_agent.training.worth_of", lambda *_: -1.0)
    model = RlAgent().fit(partition.train, partition.validation, SMALL["rl_agent"], 0, 1)
    assert model.chosen is None
    assert (model.predict_frame(partition.test.X)["kelly_share"] == 0).all()
    assert (model.agent_shares(partition.test.X).to_numpy() == 0).all()
    assert model.report()["agent_stakes"] == "nothing"


def test_agents_play_train_and_are_judged_by_validation(fitted, partition):
    assert set(fitted.judged.time) <= set(partition.validation.decision_time.to_numpy("datetime64[us]"))
    assert set(fitted.played.time) <= set(partition.train.decision_time.to_numpy("datetime64[us]"))
    assert (fitted.played.mean > 0).all()


def test_an_update_judges_by_the_newest_rows(fitted, partition):
    updated = RlAgent().update(fitted, partition.test, partition.train, 1, 1)
    both = np.union1d(fitted.judged.time, partition.test.decision_time.to_numpy("datetime64[us]"))
    times = len(fitted.judged.first)
    assert set(updated.judged.time) <= set(both[-times:])
    assert len(updated.judged.first) <= times
    assert updated.played.time.max() < updated.judged.time.min()
    assert len(updated.played) >= len(fitted.played)
    np.testing.assert_array_equal(updated.played.next_roi[: len(fitted.played)], fitted.played.next_roi)
    ahead = partition.test.take(
        np.flatnonzero(partition.test.decision_time.to_numpy("datetime64[us]") == updated.judged.time[-1])
    )
    forecast = fitted.predict_frame(ahead.X)["probability"].to_numpy()
    seen = fitted.features.moments(ahead.X[list(fitted.feature_names)].to_numpy(), forecast)[0]
    np.testing.assert_array_equal(updated.judged.mean[-(seen > 0).sum() :], seen[seen > 0])


def test_rows_that_arrive_late_neither_judge_nor_are_played(fitted, partition):
    late = partition.validation.take(np.arange(20))
    updated = RlAgent().update(fitted, late, partition.train, 1, 1)
    assert (len(updated.judged), len(updated.played)) == (len(fitted.judged), len(fitted.played))
    assert updated.forecast.calibrator is fitted.forecast.calibrator
    assert updated.forecast.learners["lightgbm"] is not fitted.forecast.learners["lightgbm"]
