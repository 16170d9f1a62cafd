"""The betting environments as Stable-Baselines3 takes them. The rules are all in `env`.

SB3's own `DummyVecEnv` steps one environment after the other; here one step of numpy moves all of them. Importing this
imports Stable-Baselines3 and torch, which takes seconds: import it late.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.rl_agent.decisions import STEPS, Decisions
from cleverbetter_dagster.learning.rl_agent.env import OBSERVATION_BOUND, BettingEnv, EnvSpec


class BettingVecEnv(VecEnv):
    """Many environments in one array. Finished episodes begin anew by themselves, as SB3 expects."""

    def __init__(self, decisions: Decisions, spec: EnvSpec, n_envs: int) -> None:
        self.env = BettingEnv(decisions, spec, [None] * n_envs)
        self.render_mode = None  # SB3 asks
        self._none: list[dict[str, Any]] = [{} for _ in range(n_envs)]
        seen = gym.spaces.Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, (self.env.observation_size,), np.float32)
        super().__init__(n_envs, seen, gym.spaces.Discrete(STEPS))

    def reset(self) -> VecEnvObs:
        if any(seed is not None for seed in self._seeds):
            self.env.reseed(self._seeds)
        self._reset_seeds()
        return self.env.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        outcome = self.env.step(self._actions)
        done = outcome.terminated | outcome.truncated
        seen, infos = self.env.observe(), self._none
        if done.any():
            which, last = np.flatnonzero(done), seen
            seen = self.env.reset(which)
            infos = [{} for _ in range(self.num_envs)]
            for i in which:
                infos[i] = {"terminal_observation": last[i], "TimeLimit.truncated": bool(outcome.truncated[i])}
        return seen, outcome.reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Nothing to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ARG002 - SB3's
        raise LearningError(f"{attr_name} cannot be set in one environment: all {self.num_envs} share their rules.")

    def env_method(self, method_name: str, *_: Any, indices: VecEnvIndices = None, **__: Any) -> list[Any]:  # noqa: ARG002
        raise LearningError(f"{method_name} cannot be called in one environment: all {self.num_envs} are one array.")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:  # noqa: ARG002
        return [False] * len(list(self._get_indices(indices)))
