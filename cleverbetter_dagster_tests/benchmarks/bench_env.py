"""How fast the betting environment steps beside one written plainly, and how fast agents train beside SB3's defaults.

Speeds are per CPU second of this process, so that other work on the machine does not count.

    python -m cleverbetter_dagster_tests.benchmarks.bench_env --seconds 5
"""

import argparse
from collections.abc import Sequence
from time import process_time

import numpy as np
from rich.console import Console

from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.env import BettingEnv, EnvSpec
from cleverbetter_dagster.learning.rl_agent.params import RlAgentParams
from cleverbetter_dagster.learning.rl_agent.policy import AgentPolicy
from cleverbetter_dagster.learning.rl_agent.training import checkpoints, policy_of, shares_of, worth_of_returns
from cleverbetter_dagster_tests.learning.rl_agent.plain_env import PlainEnv, windows

N_ENVS = 64


def history(times: int = 24, rows: int = 50, features: int = 40) -> Decisions:
    """Rows whose first feature says whether the next return is worth a stake."""
    rng = np.random.default_rng(0)
    n = times * rows
    seen = rng.normal(size=(n, features)).clip(-5, 5).astype(np.float32)
    mean, variance = np.full(n, 0.02), np.full(n, 0.9996)  # a full Kelly stake of 0.02
    return Decisions(*windows(np.arange(n) // rows), seen, mean, variance, 0.03 * seen[:, 0] + rng.normal(0, 0.05, n))


def plain_speed(decisions: Decisions, spec: EnvSpec, seconds: float) -> float:
    """Steps a second of one plain environment."""
    env, rng = PlainEnv(decisions, spec), np.random.default_rng(0)
    actions, steps, start = rng.integers(0, 11, 1000).tolist(), 0, process_time()
    while process_time() - start < seconds:
        for action in actions:
            if env.step(action)[2]:
                env.reset()
        steps += len(actions)
    return steps / (process_time() - start)


def vector_speed(decisions: Decisions, spec: EnvSpec, seconds: float) -> float:
    """Steps a second of all environments together, as Stable-Baselines3 takes them."""
    from cleverbetter_dagster.learning.rl_agent.vec_env import BettingVecEnv

    env, rng = BettingVecEnv(decisions, spec, N_ENVS), np.random.default_rng(0)
    env.seed(0)
    env.reset()
    actions, steps, start = rng.integers(0, 11, (1000, N_ENVS)), 0, process_time()
    while process_time() - start < seconds:
        for chosen in actions[:100]:
            env.step(chosen)
        steps += 100 * N_ENVS
    return steps / (process_time() - start)


def growth(policy: AgentPolicy, decisions: Decisions) -> float:
    """Log growth per round of a policy's stakes."""
    return worth_of_returns(decisions.returns_of(shares_of(policy, decisions.features), RlAgentParams().staking))


def ours(decisions: Decisions, steps: int) -> tuple[float, float]:
    """Steps a second and growth of an agent trained as the family trains it."""
    checkpoints(decisions, RlAgentParams(total_steps=1, checkpoints=1), 0)  # imports and first calls
    start = process_time()
    [(trained, policy)] = checkpoints(decisions, RlAgentParams(total_steps=steps, checkpoints=1), 0)
    return trained / (process_time() - start), growth(policy, decisions)


def defaults(decisions: Decisions, spec: EnvSpec, steps: int) -> tuple[float, float]:
    """The same of PPO as it comes, on one Gymnasium environment."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger

    from cleverbetter_dagster_tests.learning.rl_agent.gym_env import GymBettingEnv

    torch.set_num_threads(1)
    model = PPO("MlpPolicy", GymBettingEnv(decisions, spec), seed=0, device="cpu")
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own leaves a folder in the temporary one
    start = process_time()
    model.learn(steps)
    return model.num_timesteps / (process_time() - start), growth(policy_of(model), decisions)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of stepping, for each environment")
    parser.add_argument("--steps", type=int, default=20_480, help="that PPO's defaults train for")
    options = parser.parse_args(arguments)
    decisions, spec, console = history(), RlAgentParams().env_spec, Console()
    plain = plain_speed(decisions, spec, options.seconds)
    single = BettingEnv(decisions, spec, [0])
    vector = vector_speed(decisions, spec, options.seconds)
    console.print(f"{single.observation_size} numbers seen; plain environment {plain:,.0f} steps per CPU second")
    console.print(f"{N_ENVS} environments in numpy {vector:,.0f} steps per CPU second: {vector / plain:.1f} times")
    slow, slow_worth = defaults(decisions, spec, options.steps)
    fast, fast_worth = ours(decisions, 4 * options.steps)
    console.print(f"training {slow:,.0f} -> {fast:,.0f} steps per CPU second: {fast / slow:.1f} times SB3")
    console.print(f"growth per round {slow_worth:.5f} -> {fast_worth:.5f}, in {4 * slow / fast:.2f} of the CPU time")


if __name__ == "__main__":
    main()
