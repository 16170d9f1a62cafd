"""The betting world as others want to see it: a Stable-Baselines3 `VecEnv` and a Gymnasium `Env`.

Both are thin: the rules are all in `betting_world`. World i of the vector with seed s plays as the single world with
seed s + i does. Importing this module imports Stable-Baselines3 and torch, which takes seconds: import it late.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.rl_agent.decisions import STEPS, Decisions
from cleverbetter_dagster.learning.rl_agent.env import OBSERVATION_BOUND, BettingWorld, WorldSpec


def _observation_space(world: BettingWorld) -> gym.spaces.Box:
    return gym.spaces.Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, (world.observation_size,), np.float32)


class BettingVecEnv(VecEnv):
    """Many worlds in one array, for training. Finished episodes begin anew by themselves, as SB3 expects."""

    def __init__(self, decisions: Decisions, spec: WorldSpec, worlds: int) -> None:
        self.world = BettingWorld(decisions, spec, [None] * worlds)
        self.render_mode = None  # SB3 asks
        self._none: list[dict[str, Any]] = [{} for _ in range(worlds)]
        super().__init__(worlds, _observation_space(self.world), gym.spaces.Discrete(STEPS))

    def reset(self) -> VecEnvObs:
        if any(seed is not None for seed in self._seeds):
            self.world.reseed(self._seeds)
        self._reset_seeds()
        return self.world.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        outcome = self.world.step(self._actions)
        done = outcome.terminated | outcome.truncated
        seen, infos = self.world.observe(), self._none
        if done.any():
            which, last = np.flatnonzero(done), seen
            seen = self.world.reset(which)
            infos = [{} for _ in range(self.num_envs)]
            for i in which:
                infos[i] = {"terminal_observation": last[i], "TimeLimit.truncated": bool(outcome.truncated[i])}
        return seen, outcome.reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Nothing to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ARG002 - SB3's
        raise LearningError(f"{attr_name} cannot be set in one world: all {self.num_envs} share their rules.")

    def env_method(self, method_name: str, *_: Any, indices: VecEnvIndices = None, **__: Any) -> list[Any]:  # noqa: ARG002
        raise LearningError(f"{method_name} cannot be called in one world: all {self.num_envs} are one array.")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:  # noqa: ARG002
        return [False] * len(list(self._get_indices(indices)))


class BettingEnv(gym.Env[np.ndarray, np.int64]):
    """One world, for looking closely and for Gymnasium's and SB3's checkers."""

    def __init__(self, decisions: Decisions, spec: WorldSpec) -> None:
        self.world = BettingWorld(decisions, spec, [None])
        self.observation_space = _observation_space(self.world)
        self.action_space = gym.spaces.Discrete(STEPS)

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 - Gymnasium's
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.world.reseed([seed])
        return self.world.reset()[0], {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        outcome = self.world.step(np.array([action]))
        seen = self.world.observe()[0]
        info = {"bankroll": float(self.world.bankroll[0])}
        return seen, float(outcome.reward[0]), bool(outcome.terminated[0]), bool(outcome.truncated[0]), info
