"""The betting environment: many bankrolls played through the same history at once, in numpy alone.

A step is one decision about one strategy. The strategies of a round are decided one after the other, and their stakes
opened together, after the last of them; each is settled at the first round after its window has closed. Until then
nothing an agent sees of its bankroll depends on its next return. What is open bounds what a round may stake.
`vec_env` makes it Stable-Baselines3's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.rl_agent.decisions import Decisions, bound_scale, fraction_of
from cleverbetter_dagster.learning.rl_agent.reward import LEAST_WEALTH, RewardSpec, drawdown, utility

OWN_STATE = ("log_bankroll", "last_return", "mean_return", "sharpe_ratio", "drawdown", "committed")
"""What an agent sees of its own bankroll and stakes, before the row's features."""

NEUTRAL_STATE = np.zeros(len(OWN_STATE), dtype=np.float32)
"""Own state of an agent that has not begun: nothing won, lost or staked."""

RECENT = 6
"""Rounds over which the agent sees its mean return and Sharpe ratio."""

OBSERVATION_BOUND = 10.0
"""Magnitude at which everything observed is clipped."""

_RETURN_SCALE = 10.0  # returns on the bankroll are a few percent; networks like numbers of the order of 1
_LEAST_DEVIATION = 1e-6


class EnvSpec(BaseModel):
    """The rules of the game."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: RewardSpec = RewardSpec()
    staking: StakingSpec = StakingSpec(kelly_fraction=1.0)
    episode_times: int = Field(
        12, ge=1, le=10_000, description="rounds of decisions an episode lasts, or to the end of history"
    )
    reward_scale: float = Field(
        100.0, gt=0, le=1e6, description="rewards are multiplied by it: 100 pays percents of growth"
    )


class Outcome(NamedTuple):
    """What a step led to, one entry per environment: the reward, whether it is ruined, or its episode just over."""

    reward: FloatArray
    terminated: np.ndarray
    truncated: np.ndarray


class BettingEnv:
    """`n_envs` bankrolls, each somewhere in the history.

    Attributes:
        bankroll: of each environment, as a share of what its episode began with; moves at settlements only.
        peak: highest bankroll of the episode so far.

    Args:
        decisions: the history.
        spec: the rules.
        seeds: one per environment, whose starts depend on it alone.

    Raises:
        LearningError: there is nothing to decide.
    """

    def __init__(self, decisions: Decisions, spec: EnvSpec, seeds: Sequence[int | None]) -> None:
        if not len(decisions):
            raise LearningError("A betting environment of 0 rows: give at least one decision.")
        self.decisions, self.spec = decisions, spec
        self.n_envs = len(seeds)
        self.observation_size = len(OWN_STATE) + decisions.features.shape[1]
        self._kelly, self._first = decisions.kelly(spec.staking), decisions.first
        self._ends, self._last_row = decisions.ends, np.zeros(len(decisions), dtype=bool)
        self._last_row[self._ends - 1] = True
        self.bankroll, self.peak = np.ones(self.n_envs), np.ones(self.n_envs)
        self._committed, self._profit, self._worth = (np.zeros(self.n_envs) for _ in range(3))
        # By rounds until a stake is settled, less one: what this round stakes and earns, as fractions of the bankroll;
        # and what earlier rounds have open and will earn, as the bankroll itself is counted.
        self._wait = decisions.rounds_open - 1
        self._round, self._due = (np.zeros((2, self.n_envs, int(self._wait.max()) + 1)) for _ in range(2))
        self._recent = np.zeros((self.n_envs, RECENT))
        self._played = np.zeros(self.n_envs, dtype=np.int64)
        self._row, self._end = np.zeros(self.n_envs, dtype=np.int64), np.zeros(self.n_envs, dtype=np.int64)
        self._own = np.zeros((self.n_envs, len(OWN_STATE)), dtype=np.float32)
        self.reseed(seeds)

    def reseed(self, seeds: Sequence[int | None]) -> None:
        """Give every environment a generator of its own; None draws from the system's entropy."""
        self._seeds = seeds
        self._generators: list[np.random.Generator] = []

    def reset(self, which: IntArray | None = None) -> np.ndarray:
        """Begin new episodes, in the environments `which` or in all; observations of all, float32[m, k]."""
        if not self._generators:  # made when first needed: SB3 seeds its environments again before they begin
            self._generators = [np.random.default_rng(seed) for seed in self._seeds]
        chosen = np.arange(self.n_envs) if which is None else which
        times = len(self._ends)
        length = min(self.spec.episode_times, times)
        start = np.array([self._generators[env].integers(0, times - length + 1) for env in chosen])
        self._row[chosen], self._end[chosen] = self._first[start], self._ends[start + length - 1]
        self.bankroll[chosen] = self.peak[chosen] = 1.0
        for state in (self._committed, self._profit, self._worth, self._recent, self._played, self._own):
            state[chosen] = 0
        self._round[:, chosen] = self._due[:, chosen] = 0
        return self.observe()

    def observe(self) -> np.ndarray:
        """What every agent sees now: its own state, then the features of the row to be decided; float32[m, k]."""
        # At the end of history there is no further row; the last one stands in, and is never decided again.
        row = np.minimum(self._row, len(self.decisions) - 1)
        return np.concatenate([self._own, self.decisions.features[row]], axis=1)

    def step(self, steps: IntArray) -> Outcome:
        """Decide one row in every environment: stake that many tenths of its full Kelly stake.

        Args:
            steps: 0..10, int[m].
        """
        row, rules = self._row, self.spec
        bound = rules.staking.max_total_fraction
        stake = fraction_of(steps) * self._kelly[row]
        profit = stake * self.decisions.next_roi[row]
        self._committed += stake
        self._profit += profit
        place = (np.arange(self.n_envs), self._wait[row])
        self._round[0][place] += stake
        self._round[1][place] += profit
        held = self._due[0].sum(axis=1) / np.maximum(self.bankroll, LEAST_WEALTH)
        scale = bound_scale(self._committed, np.maximum(bound - held, 0.0))
        earned = np.maximum(self._profit * scale, -1.0)
        worth = utility(earned, self.bankroll, self.peak, rules.reward)
        reward = (worth - self._worth) * rules.reward_scale
        self._worth = worth
        settled = np.flatnonzero(self._last_row[row])
        self._row = row + 1
        if len(settled):
            self._settle(settled, earned[settled], scale[settled])
            held[settled] = self._due[0][settled].sum(axis=1) / np.maximum(self.bankroll[settled], LEAST_WEALTH)
        self._own[:, -1] = np.minimum((held + self._committed) / bound, OBSERVATION_BOUND)
        terminated = self.bankroll <= rules.reward.ruin_level
        return Outcome(reward, terminated, ~terminated & (self._row >= self._end))

    def _settle(self, which: IntArray, earned: FloatArray, scale: FloatArray) -> None:
        """The round's stakes open, the bankrolls move by the windows that close before the next; what is seen follows.

        Args:
            which: environments whose round is over.
            earned: return of all its stakes on the bankroll.
            scale: what brings the stakes within the bound.
        """
        self._due[:, which] += self._round[:, which] * (scale * self.bankroll[which])[:, None]
        self._round[:, which] = 0.0
        self.bankroll[which] = np.maximum(self.bankroll[which] + self._due[1, which, 0], 0.0)
        self._due[:, which] = np.append(self._due[:, which, 1:], np.zeros((2, len(which), 1)), axis=2)
        self.peak[which] = np.maximum(self.peak[which], self.bankroll[which])
        self._committed[which] = self._profit[which] = self._worth[which] = 0.0
        self._recent[which] = np.column_stack([self._recent[which, 1:], earned])
        self._played[which] = np.minimum(self._played[which] + 1, RECENT)
        recent, played = self._recent[which], self._played[which]
        mean = recent.sum(axis=1) / played
        deviation = np.sqrt(np.maximum((recent**2).sum(axis=1) / played - mean**2, 0.0))
        seen = (
            np.log(np.maximum(self.bankroll[which], 1e-6)),
            _RETURN_SCALE * earned,
            _RETURN_SCALE * mean,
            np.where(deviation > _LEAST_DEVIATION, mean / np.maximum(deviation, _LEAST_DEVIATION), 0.0),
            drawdown(self.bankroll[which], self.peak[which]),
        )
        self._own[which, : len(seen)] = np.clip(np.column_stack(seen), -OBSERVATION_BOUND, OBSERVATION_BOUND)
