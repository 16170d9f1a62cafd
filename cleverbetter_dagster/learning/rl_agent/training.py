"""Training agents with Stable-Baselines3's PPO, and choosing one: by growth and drawdown on later rows, or none.

Batch size and epochs decide PPO's speed here, and the environment is cheap: few, large batches of many environments.
An agent is a seed; its checkpoints are candidates like the other agents'. Doing nothing is a candidate too, worth 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.learning.rl_agent.decisions import Decisions, fraction_of
from cleverbetter_dagster.learning.rl_agent.env import NEUTRAL_STATE
from cleverbetter_dagster.learning.rl_agent.params import RlAgentParams
from cleverbetter_dagster.learning.rl_agent.policy import AgentPolicy
from cleverbetter_dagster.learning.rl_agent.reward import LEAST_WEALTH
from cleverbetter_dagster.learning.torch_threads import one_torch_thread

if TYPE_CHECKING:
    from stable_baselines3 import PPO

REFRESHED_SHARE = 1 / 16
"""Share of `total_steps` that an agent plays when it is trained further; at least one rollout."""

REFRESHED_RATE = 0.4
"""Its learning rate then, as a share of the first: at the full rate a network forgets what it knew."""

WIDER = 4
"""It then plays so many times as many environments, for as many fewer steps: each step costs about the same."""


@dataclass(frozen=True, eq=False)
class Agent:
    """A candidate and its worth on the rows it was judged on, per round in units of log growth."""

    policy: AgentPolicy
    seed: int
    steps_trained: int
    worth: float

    def shares(self, features: np.ndarray) -> FloatArray:
        """Share of the full Kelly stake of each row, 0, 0.1, ..., 1, float[n]; 0 from an agent worth nothing."""
        return shares_of(self.policy, features) if self.worth > 0 else np.zeros(len(features))


def agent_seeds(agents: int, seed: int | Sequence[int]) -> list[int]:
    """Seeds of the agents, from one number or several; the first ones are the same however many there are."""
    return [int(own) % 2**31 for own in np.random.SeedSequence(seed).generate_state(agents)]


def train_agents(played: Decisions, judged: Decisions, spec: RlAgentParams, seed: int) -> tuple[Agent, ...]:
    """Train every agent on `played`; of each, take the checkpoint that is worth most on the later rows `judged`.

    Returns:
        One agent per seed, in order of `agent_seeds`; none without rows to play or to judge by.
    """
    if not len(played) or not len(judged):
        return ()
    agents = []
    for own in agent_seeds(spec.agents, seed):
        candidates = checkpoints(played, spec, own)
        agents.append(_worthiest([Agent(policy, own, n, worth_of(policy, judged, spec)) for n, policy in candidates]))
    return tuple(agents)


def refresh_agents(
    agents: Sequence[Agent], played: Decisions, judged: Decisions, spec: RlAgentParams, seed: int
) -> tuple[Agent, ...]:
    """Train every agent a little further on older and newer rows; of each, take what is worth most on `judged`.

    The agent as it was is a candidate too, so it never becomes worth less there. Of equals the one that went on is
    taken, since months of small steps add up.
    """
    gentle = _gentle(spec)
    refreshed = []
    for agent in agents:
        [own] = agent_seeds(1, [seed, agent.seed, agent.steps_trained])  # another one at every update
        [(steps, policy)] = checkpoints(played, gentle, own, agent.policy)
        went_on = Agent(policy, agent.seed, agent.steps_trained + steps, worth_of(policy, judged, spec))
        refreshed.append(_worthiest([went_on, replace(agent, worth=worth_of(agent.policy, judged, spec))]))
    return tuple(refreshed)


def _gentle(spec: RlAgentParams) -> RlAgentParams:
    """How an agent is trained further: few steps in many environments, one pass over them, a low learning rate."""
    return spec.model_copy(
        update={
            "learning_rate": REFRESHED_RATE * spec.learning_rate,
            "total_steps": max(round(REFRESHED_SHARE * spec.total_steps), 1),
            "checkpoints": 1,
            "epochs": 1,
            "n_envs": WIDER * spec.n_envs,
            "rollout_steps": max(spec.rollout_steps // WIDER, 2),
        }
    )


def best_agent(agents: Sequence[Agent]) -> Agent | None:
    """The agent worth most, or None where no agent is worth more than doing nothing."""
    best = max(agents, key=lambda agent: agent.worth, default=None)
    return best if best is not None and best.worth > 0 else None


def shares_of(policy: AgentPolicy, features: np.ndarray) -> FloatArray:
    """Share of the full Kelly stake of each row float32[n, k], 0, 0.1, ..., 1, decided with the neutral own state."""
    own = np.broadcast_to(NEUTRAL_STATE, (len(features), len(NEUTRAL_STATE)))
    return fraction_of(policy.steps(np.concatenate([own, features], axis=1)))


def worth_of(policy: AgentPolicy, decisions: Decisions, spec: RlAgentParams) -> float:
    """`worth_of_returns` of a policy's stakes, those of one round staked jointly."""
    earned = decisions.returns_of(shares_of(policy, decisions.features), spec.staking)
    return worth_of_returns(earned, spec.drawdown_weight)


def worth_of_returns(earned: FloatArray, drawdown_weight: float = 0.0) -> float:
    """Mean log growth per round, less the weighted deepest drawdown spread over all of them.

    Args:
        earned: return on the bankroll of each round, >= -1, in order, float[t >= 1].
        drawdown_weight: log growth that a drawdown of everything weighs.
    """
    wealth = np.cumsum(np.log(np.maximum(1.0 + earned, LEAST_WEALTH)))
    below_peak = wealth - np.maximum.accumulate(np.maximum(wealth, 0.0))
    deepest = -float(np.expm1(below_peak.min()))
    return (float(wealth[-1]) - drawdown_weight * deepest) / len(earned)


def checkpoints(
    played: Decisions, spec: RlAgentParams, seed: int, start: AgentPolicy | None = None
) -> list[tuple[int, AgentPolicy]]:
    """Train one agent on one thread, from `start` or anew; (steps trained, policy) at every checkpoint, in order."""
    import torch

    with one_torch_thread():
        model = _new_model(played, spec, seed)
        if start is not None:
            model.policy.load_state_dict({name: torch.from_numpy(value) for name, value in start.weights.items()})
        policies: list[tuple[int, AgentPolicy]] = []
        for _ in range(spec.checkpoints):
            model.learn(-(-spec.total_steps // spec.checkpoints), reset_num_timesteps=not policies)
            policies.append((int(model.num_timesteps), policy_of(model)))
        return policies


def _worthiest(candidates: list[Agent]) -> Agent:
    """The first of those worth most."""
    return max(candidates, key=lambda agent: agent.worth)


def _new_model(played: Decisions, spec: RlAgentParams, seed: int) -> "PPO":
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger

    from cleverbetter_dagster.learning.rl_agent.vec_env import BettingVecEnv

    layers = [spec.hidden_units, spec.hidden_units]
    model = PPO(
        "MlpPolicy",
        BettingVecEnv(played, spec.env_spec, spec.n_envs),
        n_steps=spec.rollout_steps,
        batch_size=min(spec.batch_size, spec.rollout_steps * spec.n_envs),
        n_epochs=spec.epochs,
        learning_rate=spec.learning_rate,
        gamma=spec.discount,
        ent_coef=spec.entropy_weight,
        policy_kwargs={"net_arch": {"pi": layers, "vf": layers}},
        seed=seed,
        device="cpu",
    )
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own leaves a folder in the temporary one
    return model


def policy_of(model: "PPO") -> AgentPolicy:
    """A copy of the weights of a model as they are now."""
    return AgentPolicy({name: value.numpy().copy() for name, value in model.policy.state_dict().items()})
