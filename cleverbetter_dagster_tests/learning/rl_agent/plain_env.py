"""The betting environment in plain Python, with one bankroll: the oracle, and what speed is compared with."""

import math

import numpy as np

from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.env import EnvSpec


def windows(month: np.ndarray, length: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows that begin when they are decided, so many months after January 2022, and last `length` months."""
    decided = np.datetime64("2022-01", "M") + month
    return decided, decided, decided + length


class PlainEnv:
    """One environment that starts at the first decision time and plays to the end of its episode."""

    def __init__(self, decisions: Decisions, spec: EnvSpec, start: int = 0) -> None:
        self.decisions, self.spec, self.start = decisions, spec, start
        self.kelly = [float(kelly) for kelly in decisions.kelly(spec.staking)]
        self.ends = [int(end) for end in decisions.ends]
        self.waits = [int(rounds) for rounds in decisions.rounds_open]
        self.bound = spec.staking.max_total_fraction
        self.reset()

    def reset(self) -> list[float]:
        self.time, self.row = self.start, int(self.decisions.first[self.start])
        self.last = min(self.start + self.spec.episode_times, len(self.ends))
        self.bankroll = self.peak = 1.0
        self.stakes: list[tuple[float, float, int]] = []
        self.open: list[tuple[float, float, int]] = []  # money, return, round at which it is settled
        self.returns: list[float] = []
        self.worth = 0.0
        return self.observe()

    def observe(self) -> list[float]:
        recent = self.returns[-6:]
        own = [0.0] * 6
        if recent:
            mean = sum(recent) / len(recent)
            deviation = math.sqrt(max(sum(r * r for r in recent) / len(recent) - mean**2, 0.0))
            sharpe = mean / deviation if deviation > 1e-6 else 0.0
            own[:5] = [math.log(max(self.bankroll, 1e-6)), 10 * recent[-1], 10 * mean, sharpe, self.fall(self.bankroll)]
        own[5] = (self.held() + sum(stake for stake, _, _ in self.stakes)) / self.bound
        row = min(self.row, len(self.kelly) - 1)
        return [min(max(value, -10.0), 10.0) for value in own] + [float(v) for v in self.decisions.features[row]]

    def fall(self, bankroll: float) -> float:
        return max(1.0 - bankroll / self.peak, 0.0)

    def held(self) -> float:
        return sum(money for money, _, _ in self.open) / max(self.bankroll, 1e-6)

    def step(self, action: int) -> tuple[list[float], float, bool]:
        kelly, roi = self.kelly[self.row], float(self.decisions.next_roi[self.row])
        self.stakes.append((action / 10 * kelly, roi, self.time + self.waits[self.row]))
        total = sum(stake for stake, _, _ in self.stakes)
        scale = min(1.0, max(self.bound - self.held(), 0.0) / total) if total > 0 else 1.0
        earned = max(sum(stake * r for stake, r, _ in self.stakes) * scale, -1.0)
        rules, wealth = self.spec.reward, self.bankroll * (1 + earned)
        worth = rules.growth_weight * math.log(max(1 + earned, 1e-6))
        worth -= rules.drawdown_weight * max(self.fall(wealth) - self.fall(self.bankroll), 0.0)
        worth -= rules.risk_weight * earned**2 / 2
        worth -= rules.ruin_cost if wealth <= rules.ruin_level else 0.0
        reward = (worth - self.worth) * self.spec.reward_scale
        self.worth, self.row = worth, self.row + 1
        if self.row == self.ends[self.time]:
            self.returns.append(earned)
            self.open += [(stake * scale * self.bankroll, r, due) for stake, r, due in self.stakes]
            self.stakes, self.worth, self.time = [], 0.0, self.time + 1
            closed = sum(money * r for money, r, due in self.open if due <= self.time)
            self.open = [each for each in self.open if each[2] > self.time]
            self.bankroll = max(self.bankroll + closed, 0.0)
            self.peak = max(self.peak, self.bankroll)
        return self.observe(), reward, self.bankroll <= rules.ruin_level or self.time >= self.last
