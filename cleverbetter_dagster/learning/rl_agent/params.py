"""Hyperparameters of the agents, of their reward and of the probability they are given."""

from pydantic import Field

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.learning.ensemble.params import BaseParams
from cleverbetter_dagster.learning.rl_agent.env import EnvSpec
from cleverbetter_dagster.learning.rl_agent.reward import RewardSpec


class RlAgentParams(RewardSpec):
    """The reward's weights, the bounds on stakes, PPO's hyperparameters, and how the probability is learned."""

    agents: int = Field(5, ge=1, le=50, description="agents trained, each with a seed of its own")
    total_steps: int = Field(65_536, ge=1, le=1_000_000_000, description="decisions each agent is trained on")
    checkpoints: int = Field(4, ge=1, le=100, description="moments of training at which an agent is a candidate")
    n_envs: int = Field(64, ge=1, le=4096, description="bankrolls played in parallel")
    rollout_steps: int = Field(64, ge=2, le=65_536, description="decisions of every environment between two updates")
    batch_size: int = Field(1024, ge=2, le=1_000_000, description="decisions in a gradient step")
    epochs: int = Field(4, ge=1, le=1000, description="passes over the decisions of an update")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="step of the agent's optimiser")
    discount: float = Field(0.5, ge=0, lt=1, description="what a reward one decision later is worth")
    entropy_weight: float = Field(0.0, ge=0, le=1000, description="reward for staying undecided while training")
    hidden_units: int = Field(32, ge=1, le=1024, description="units in each of the two hidden layers")
    episode_times: int = Field(12, ge=1, le=10_000, description="rounds of decisions an episode lasts")
    max_stake_fraction: float = Field(
        StakingSpec().max_stake_fraction, gt=0, le=1, description="most of the bankroll one strategy may get"
    )
    max_total_fraction: float = Field(
        StakingSpec().max_total_fraction, gt=0, le=1, description="most of it that may be open together"
    )
    n_folds: int = Field(4, ge=1, le=20, description="forward folds of train, if time allows as many")
    n_estimators: int = Field(100, ge=1, le=5000, description="boosting rounds of the probability")
    boosting_rate: float = Field(0.04, gt=0, le=1, description="step of each boosting round")
    max_depth: int = Field(3, ge=1, le=16, description="depth of a boosted tree")
    logistic_c: float = Field(0.005, gt=0, le=1e6, description="inverse penalty of the linear model")

    @property
    def env_spec(self) -> EnvSpec:
        """The rules the agents are trained by."""
        return EnvSpec(reward=self, staking=self.staking, episode_times=self.episode_times)

    @property
    def staking(self) -> StakingSpec:
        """The bounds; the whole Kelly stake, since the agent takes its share of it."""
        return StakingSpec(
            kelly_fraction=1.0,
            max_stake_fraction=self.max_stake_fraction,
            max_total_fraction=self.max_total_fraction,
        )

    @property
    def learners(self) -> BaseParams:
        """What the base learners take; the rest of it at the defaults."""
        return BaseParams(
            n_estimators=self.n_estimators,
            learning_rate=self.boosting_rate,
            max_depth=self.max_depth,
            logistic_c=self.logistic_c,
        )
