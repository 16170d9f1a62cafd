from dataclasses import replace

import gymnasium.utils.env_checker
import numpy as np
import pytest
import stable_baselines3.common.env_checker

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import InvalidInput, LearningError
from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.env import OWN_STATE, BettingEnv, EnvSpec
from cleverbetter_dagster.learning.rl_agent.reward import RewardSpec, utility
from cleverbetter_dagster.learning.rl_agent.vec_env import BettingVecEnv
from cleverbetter_dagster_tests.learning.rl_agent.gym_env import GymBettingEnv
from cleverbetter_dagster_tests.learning.rl_agent.plain_env import PlainEnv, windows


def months_since(times: np.ndarray) -> list[int]:
    return (times.astype("datetime64[M]") - np.datetime64("2022-01")).astype(int).tolist()


GROWTH_ONLY = RewardSpec(drawdown_weight=0.0, ruin_cost=0.0)
UNCAPPED = StakingSpec(kelly_fraction=1.0, max_stake_fraction=1.0, max_total_fraction=1.0)


def decided(
    kelly: np.ndarray, next_roi: np.ndarray, time: np.ndarray, features: np.ndarray | None = None, months: int = 1
) -> Decisions:
    """Rows whose second moment is 1, so that the full Kelly stake is the mean; windows last some months from `time`."""
    kelly = np.asarray(kelly, dtype=np.float64)
    seen = np.zeros((len(kelly), 1), np.float32) if features is None else features
    roi = np.asarray(next_roi, dtype=np.float64)
    return Decisions(*windows(np.asarray(time), months), seen, kelly, 1.0 - kelly**2, roi)


def history(times: int = 8, rows: int = 5, seed: int = 0, scale: float = 0.3, months: int = 1) -> Decisions:
    rng = np.random.default_rng(seed)
    n = times * rows
    features = rng.normal(size=(n, 3)).clip(-5, 5).astype(np.float32)
    return decided(rng.uniform(0, 0.5, n), rng.normal(0.02, scale, n), np.arange(n) // rows, features, months)


def test_the_terms_of_the_reward_worked_by_hand():
    def worth(earned: float, bankroll: float = 1.0, peak: float = 1.0, **weights: float) -> float:
        none = {"growth_weight": 0.0, "drawdown_weight": 0.0, "risk_weight": 0.0, "ruin_cost": 0.0}
        spec = RewardSpec(**(none | weights))
        return float(utility(np.array([earned]), np.array([bankroll]), np.array([peak]), spec)[0])

    assert worth(0.1, growth_weight=2.0) == pytest.approx(2 * np.log(1.1))
    assert worth(-0.5, 0.8, 1.0, drawdown_weight=1.0) == pytest.approx(-0.4)  # drawdown 0.2, then 0.6
    assert worth(0.1, 0.8, 1.0, drawdown_weight=1.0) == 0.0
    assert worth(-0.2, risk_weight=3.0) == pytest.approx(-0.06)
    assert worth(-0.95, ruin_cost=7.0, ruin_level=0.1) == -7.0
    assert worth(-1.0, growth_weight=1.0) == pytest.approx(np.log(1e-6))


def test_a_settlement_worked_by_hand():
    decisions = decided([0.5, 0.4], [0.2, -0.1], [0, 0])
    env = BettingEnv(decisions, EnvSpec(reward=GROWTH_ONLY, reward_scale=1.0, staking=UNCAPPED), [0])
    env.reset()
    first = env.step(np.array([10]))  # 0.5 x 0.2 = 0.1
    assert first.reward[0] == pytest.approx(np.log(1.1))
    assert env.bankroll[0] == 1.0
    second = env.step(np.array([5]))  # and 0.2 x -0.1 = -0.02
    assert first.reward[0] + second.reward[0] == pytest.approx(np.log(1.08))
    assert env.bankroll[0] == pytest.approx(1.08)
    assert second.truncated[0] and not second.terminated[0]


def test_stakes_of_one_time_are_scaled_to_the_bound_together():
    decisions = decided([1.0, 1.0], [0.2, 0.1], [0, 0])
    env = BettingEnv(decisions, EnvSpec(staking=UNCAPPED.model_copy(update={"max_total_fraction": 0.5})), [0])
    env.reset()
    for _ in range(2):
        env.step(np.array([10]))
    assert env.bankroll[0] == pytest.approx(1 + 0.25 * 0.2 + 0.25 * 0.1)


def test_a_stake_that_is_open_leaves_only_the_rest():
    # Windows of two months decided monthly: the first takes all, the second finds nothing, the third 1 + 0.1 again.
    env = BettingEnv(decided(np.ones(3), [0.1, -1.0, 0.2], [0, 1, 2], months=2), EnvSpec(staking=UNCAPPED), [0])
    env.reset()
    bankrolls, committed = [], []
    for _ in range(3):
        env.step(np.array([10]))
        bankrolls.append(env.bankroll[0])
        committed.append(env.observe()[0, len(OWN_STATE) - 1])
    assert bankrolls == pytest.approx([1.0, 1.1, 1.1 * 1.2])
    assert committed == pytest.approx([1.0, 0.0, 0.0])


@pytest.mark.parametrize(("scale", "months"), [(0.1, 1), (1.5, 1), (0.1, 3), (0.4, 2)])
def test_the_world_and_plain_python_agree_step_by_step(scale, months):
    decisions, rng = history(scale=scale, months=months), np.random.default_rng(1)
    spec = EnvSpec(reward=RewardSpec(drawdown_weight=0.3, risk_weight=2.0), episode_times=8, staking=UNCAPPED)
    env, plain = BettingEnv(decisions, spec, [0]), PlainEnv(decisions, spec)
    np.testing.assert_allclose(env.reset()[0], plain.reset(), rtol=1e-5, atol=1e-6)
    done = False
    while not done:
        action = int(rng.integers(11))
        outcome = env.step(np.array([action]))
        seen, reward, done = plain.step(action)
        assert outcome.reward[0] == pytest.approx(reward, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(env.observe()[0], seen, rtol=1e-5, atol=1e-5)
        assert bool(outcome.terminated[0] or outcome.truncated[0]) == done
        assert env.bankroll[0] == pytest.approx(plain.bankroll)


def test_many_environments_step_as_single_ones_do():
    decisions, spec, rng = history(), EnvSpec(episode_times=3, staking=UNCAPPED), np.random.default_rng(2)
    many = BettingVecEnv(decisions, spec, 4)
    many.seed(11)
    seen = many.reset()
    single = [GymBettingEnv(decisions, spec) for _ in range(4)]
    for i, env in enumerate(single):
        np.testing.assert_array_equal(env.reset(seed=11 + i)[0], seen[i])
    for _ in range(60):
        actions = rng.integers(0, 11, 4)
        seen, reward, done, infos = many.step(actions)
        for i, env in enumerate(single):
            own, pay, terminated, truncated, _ = env.step(actions[i])
            assert pay == pytest.approx(float(reward[i]), rel=1e-6)
            assert done[i] == (terminated or truncated)
            if done[i]:
                np.testing.assert_array_equal(infos[i]["terminal_observation"], own)
                own = env.reset()[0]
            np.testing.assert_array_equal(own, seen[i])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_single_environment_passes_both_checkers():
    env = GymBettingEnv(history(), EnvSpec())
    gymnasium.utils.env_checker.check_env(env, skip_render_check=True)
    stable_baselines3.common.env_checker.check_env(env)


def test_equal_seeds_begin_their_episodes_alike():
    env = BettingEnv(history(), EnvSpec(episode_times=1), range(40))
    starts = [env.reset(), env.reset()]
    assert not np.array_equal(*starts)
    env.reseed(range(40))
    np.testing.assert_array_equal([env.reset(), env.reset()], starts)


def test_rewards_add_up_to_the_log_growth_of_the_bankroll():
    env = BettingEnv(history(), EnvSpec(reward=GROWTH_ONLY, reward_scale=1.0, staking=UNCAPPED), range(6))
    rng, paid = np.random.default_rng(3), np.zeros(6)
    env.reset()
    for _ in range(40):
        paid += env.step(rng.integers(0, 11, 6)).reward
    np.testing.assert_allclose(np.exp(paid), env.bankroll)


@pytest.mark.parametrize("row", [0, 7, 14])
def test_no_observation_before_settlement_depends_on_the_next_return(row):
    spec = EnvSpec(episode_times=8, reward=RewardSpec(ruin_level=0.0))
    decisions = history()
    altered = decisions.next_roi.copy()
    altered[row] += 0.4
    other = replace(decisions, next_roi=altered)
    settled = decisions.ends[decisions.ends > row][0]
    left, right = BettingEnv(decisions, spec, [0]), BettingEnv(other, spec, [0])
    np.testing.assert_array_equal(left.reset(), right.reset())
    for step in range(1, 40):
        for env in (left, right):
            env.step(np.array([5]))
        same = np.array_equal(left.observe()[:, : len(OWN_STATE)], right.observe()[:, : len(OWN_STATE)])
        assert same == (step < settled)


def test_staking_nothing_keeps_the_bankroll():
    env = BettingEnv(history(scale=1.0), EnvSpec(), [0, 1])
    env.reset()
    assert all((env.step(np.zeros(2, dtype=int)).reward == 0).all() for _ in range(40))
    assert (env.bankroll == 1.0).all()


def test_ruin_ends_the_episode():
    decisions = decided(np.ones(3), [-0.95, 0.1, 0.1], np.arange(3))
    env = BettingEnv(decisions, EnvSpec(reward=RewardSpec(ruin_level=0.1), staking=UNCAPPED), [0])
    env.reset()
    outcome = env.step(np.array([10]))
    assert outcome.terminated[0] and not outcome.truncated[0]


def test_a_world_without_rows_is_refused():
    with pytest.raises(LearningError, match="0 rows"):
        BettingEnv(history().take(np.empty(0, dtype=int)), EnvSpec(), [0])


def test_decisions_name_what_is_wrong_with_them():
    good = history()
    with pytest.raises(InvalidInput, match="mean"):
        replace(good, mean=np.append(good.mean[:-1], np.nan))
    with pytest.raises(InvalidInput, match="Lengths differ"):
        replace(good, next_roi=good.next_roi[:-1])
    with pytest.raises(InvalidInput, match="ascend"):
        replace(good, time=good.time[::-1])


def test_decisions_are_joined_and_cut_by_time():
    early, late = decided([0.1, 0.2], [0, 0], [1, 3]), decided([0.3, 0.4], [0, 0], [2, 3])
    both = early.joined(late)
    assert months_since(both.time) == [1, 2, 3, 3]
    assert both.mean.tolist() == [0.1, 0.3, 0.2, 0.4]
    assert (both.first.tolist(), both.ends.tolist()) == ([0, 1, 2], [1, 2, 4])
    before, newest = both.cut(1)
    assert (months_since(before.time), months_since(newest.time)) == ([1, 2], [3, 3])
    assert [len(part) for part in both.cut(9)] == [0, 4]
    assert [len(part) for part in both.cut(0)] == [4, 0]


def test_joint_returns_worked_by_hand():
    decisions = Decisions(
        *windows(np.array([0, 0, 1])),
        np.zeros((3, 1), np.float32),
        np.array([0.2, 0.1, 0.1]),
        np.array([0.16, 0.19, 0.19]),
        np.array([0.1, -0.2, -3.0]),
    )
    spec = StakingSpec(kelly_fraction=1.0, max_stake_fraction=0.8, max_total_fraction=1.0)
    # Both whole stakes at time 0 exceed the bankroll: priced, they are 0.75 and 0.25.
    assert decisions.returns_of(np.ones(3), spec) == pytest.approx([0.75 * 0.1 - 0.25 * 0.2, -1.0])
    assert decisions.returns_of(np.array([0.5, 1.0, 0.5]), spec) == pytest.approx([0.4 * 0.1 - 0.5 * 0.2, -0.75])
