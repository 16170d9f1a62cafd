"""Training agents with Stable-Baselines3's PPO, and choosing one: by growth and drawdown on later rows, or none.

Batch size and epochs decide PPO's speed here, the world is cheap: few, large batches of many worlds. An agent is a
seed; its checkpoints are candidates like the other agents'. Doing nothing is a candidate too, worth 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from cleverbetter_dagster.betting.segments import FloatArray
from cleverbetter_dagster.learning.agent_policy import AgentPolicy
from cleverbetter_dagster.learning.betting_world import NEUTRAL_PLAY, WorldSpec
from cleverbetter_dagster.learning.decisions import Decisions, fraction_of
from cleverbetter_dagster.learning.reward import LEAST_WEALTH, RewardSpec

if TYPE_CHECKING:
    from stable_baselines3 import PPO


class AgentSpec(RewardSpec):
    """How agents are trained: the reward's weights and PPO's hyperparameters."""

    agents: int = Field(5, ge=1, le=50, description="agents trained, each with a seed of its own")
    total_steps: int = Field(65_536, ge=1, description="decisions each agent is trained on")
    checkpoints: int = Field(4, ge=1, le=100, description="moments of training at which an agent is a candidate")
    worlds: int = Field(64, ge=1, le=4096, description="bankrolls played in parallel")
    rollout_steps: int = Field(64, ge=2, description="decisions of every world between two updates")
    batch_size: int = Field(1024, ge=2, description="decisions in a gradient step")
    epochs: int = Field(4, ge=1, description="passes over the decisions of an update")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="step of the optimiser")
    discount: float = Field(0.5, ge=0, lt=1, description="what a reward one decision later is worth")
    entropy_weight: float = Field(0.0, ge=0, description="reward for staying undecided while training")
    hidden_units: int = Field(32, ge=1, le=1024, description="units in each of the two hidden layers")

    @property
    def reward(self) -> RewardSpec:
        """The reward's part."""
        return RewardSpec(**self.model_dump(include=set(RewardSpec.model_fields)))


Worth = Callable[[AgentPolicy], float]
"""What a policy is worth on rows it was not trained on; doing nothing is worth 0."""


@dataclass(frozen=True, eq=False)
class Agent:
    """A candidate and its worth on the rows it was judged on, per decision time in units of log growth."""

    policy: AgentPolicy
    seed: int
    steps_trained: int
    worth: float


def agent_seeds(agents: int, seed: int) -> list[int]:
    """Seeds of the agents; the first ones are the same however many there are."""
    return [int(own) % 2**31 for own in np.random.SeedSequence(seed).generate_state(agents)]


def train_agents(history: Decisions, worth: Worth, spec: AgentSpec, world: WorldSpec, seed: int) -> list[Agent]:
    """Train every agent on `history`; of each, the checkpoint that is worth most.

    Args:
        history: what the world is made of.
        worth: of a policy, on later rows.
        spec: how to train.
        world: the rules.
        seed: every agent draws its own from it.

    Returns:
        One agent per seed, in order of `agent_seeds`.
    """
    found = []
    for own in agent_seeds(spec.agents, seed):
        candidates = checkpoints(history, spec, world, own)
        judged = [Agent(policy, own, steps, worth(policy)) for steps, policy in candidates]
        found.append(max(judged, key=lambda agent: agent.worth))
    return found


def best_agent(agents: list[Agent]) -> Agent | None:
    """The agent worth most, or None where no agent is worth more than doing nothing."""
    best = max(agents, key=lambda agent: agent.worth, default=None)
    return best if best is not None and best.worth > 0 else None


def neutral_observations(features: np.ndarray) -> np.ndarray:
    """Rows as an agent sees them before it has begun to play, float32[n, k]."""
    own = np.broadcast_to(NEUTRAL_PLAY, (len(features), len(NEUTRAL_PLAY)))
    return np.concatenate([own, features], axis=1)


def shares_of(policy: AgentPolicy, features: np.ndarray) -> FloatArray:
    """Share of the full Kelly stake of each row, 0, 0.1, ..., 1, decided with neutral own play; float[n]."""
    return fraction_of(policy.steps(neutral_observations(features)))


def worth_of_returns(earned: FloatArray, drawdown_weight: float) -> float:
    """Mean log growth per decision time, less the weighted deepest drawdown spread over all of them.

    Args:
        earned: return on the bankroll of each decision time, >= -1, in order, float[t >= 1].
        drawdown_weight: log growth that a drawdown of everything weighs.
    """
    wealth = np.cumsum(np.log(np.maximum(1.0 + earned, LEAST_WEALTH)))
    below_peak = wealth - np.maximum.accumulate(np.maximum(wealth, 0.0))
    deepest = -float(np.expm1(below_peak.min()))
    return (float(wealth[-1]) - drawdown_weight * deepest) / len(earned)


def checkpoints(history: Decisions, spec: AgentSpec, world: WorldSpec, seed: int) -> list[tuple[int, AgentPolicy]]:
    """Train one agent on one thread; (steps trained, policy) at every checkpoint, in order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings, and changes bits
    try:
        model = _new_model(history, spec, world, seed)
        found: list[tuple[int, AgentPolicy]] = []
        for _ in range(spec.checkpoints):
            model.learn(-(-spec.total_steps // spec.checkpoints), reset_num_timesteps=not found)
            found.append((int(model.num_timesteps), _policy_of(model)))
        return found
    finally:
        torch.set_num_threads(threads)


def _new_model(history: Decisions, spec: AgentSpec, world: WorldSpec, seed: int) -> "PPO":
    from stable_baselines3 import PPO

    from cleverbetter_dagster.learning.world_faces import BettingVecEnv

    layers = [spec.hidden_units, spec.hidden_units]
    return PPO(
        "MlpPolicy",
        BettingVecEnv(history, world, spec.worlds),
        n_steps=spec.rollout_steps,
        batch_size=min(spec.batch_size, spec.rollout_steps * spec.worlds),
        n_epochs=spec.epochs,
        learning_rate=spec.learning_rate,
        gamma=spec.discount,
        ent_coef=spec.entropy_weight,
        policy_kwargs={"net_arch": {"pi": layers, "vf": layers}},
        seed=seed,
        device="cpu",
    )


def _policy_of(model: "PPO") -> AgentPolicy:
    network: Any = model.policy
    linear = [layer for layer in network.mlp_extractor.policy_net if hasattr(layer, "weight")]
    return AgentPolicy(
        tuple(
            (layer.weight.detach().numpy().T.astype(np.float64), layer.bias.detach().numpy().astype(np.float64))
            for layer in [*linear, network.action_net]
        )
    )
