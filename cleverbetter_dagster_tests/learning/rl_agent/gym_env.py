"""One betting environment as Gymnasium has it: for Gymnasium's and SB3's checkers, and to compare the many with."""

from typing import Any

import gymnasium as gym
import numpy as np

from cleverbetter_dagster.learning.rl_agent.decisions import STEPS, Decisions
from cleverbetter_dagster.learning.rl_agent.env import OBSERVATION_BOUND, BettingEnv, EnvSpec


class GymBettingEnv(gym.Env[np.ndarray, np.int64]):
    """A single environment of `BettingEnv`."""

    def __init__(self, decisions: Decisions, spec: EnvSpec) -> None:
        self.env = BettingEnv(decisions, spec, [None])
        size = (self.env.observation_size,)
        self.observation_space = gym.spaces.Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, size, np.float32)
        self.action_space = gym.spaces.Discrete(STEPS)

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.env.reseed([seed])
        return self.env.reset()[0], {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        outcome = self.env.step(np.array([action]))
        seen = self.env.observe()[0]
        info = {"bankroll": float(self.env.bankroll[0])}
        return seen, float(outcome.reward[0]), bool(outcome.terminated[0]), bool(outcome.truncated[0]), info
