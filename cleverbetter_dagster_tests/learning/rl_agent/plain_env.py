"""The betting environment in plain Python, with one bankroll: the oracle, and what speed is compared with."""

import math

from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.env import EnvSpec


class PlainEnv:
    """One environment that starts at the first decision time and plays to the end of its episode."""

    def __init__(self, decisions: Decisions, spec: EnvSpec, start: int = 0) -> None:
        self.decisions, self.spec, self.start = decisions, spec, start
        self.kelly = [float(kelly) for kelly in decisions.kelly(spec.staking)]
        self.ends = [int(end) for end in decisions.ends]
        self.bound = spec.staking.max_total_fraction
        self.reset()

    def reset(self) -> list[float]:
        self.time, self.row = self.start, int(self.decisions.first[self.start])
        self.last = min(self.start + self.spec.episode_times, len(self.ends))
        self.bankroll = self.peak = 1.0
        self.stakes: list[tuple[float, float]] = []
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
        own[5] = sum(stake for stake, _ in self.stakes) / self.bound
        row = min(self.row, len(self.kelly) - 1)
        return [min(max(value, -10.0), 10.0) for value in own] + [float(v) for v in self.decisions.features[row]]

    def fall(self, bankroll: float) -> float:
        return max(1.0 - bankroll / self.peak, 0.0)

    def step(self, action: int) -> tuple[list[float], float, bool]:
        kelly, roi = self.kelly[self.row], float(self.decisions.next_roi[self.row])
        self.stakes.append((action / 10 * kelly, roi))
        total = sum(stake for stake, _ in self.stakes)
        scale = min(1.0, self.bound / total) if total > 0 else 1.0
        earned = max(sum(stake * r for stake, r in self.stakes) * scale, -1.0)
        rules, wealth = self.spec.reward, self.bankroll * (1 + earned)
        worth = rules.growth_weight * math.log(max(1 + earned, 1e-6))
        worth -= rules.drawdown_weight * max(self.fall(wealth) - self.fall(self.bankroll), 0.0)
        worth -= rules.risk_weight * earned**2 / 2
        worth -= rules.ruin_cost if wealth <= rules.ruin_level else 0.0
        reward = (worth - self.worth) * self.spec.reward_scale
        self.worth, self.row = worth, self.row + 1
        if self.row == self.ends[self.time]:
            self.bankroll, self.peak = wealth, max(self.peak, wealth)
            self.returns.append(earned)
            self.stakes, self.worth, self.time = [], 0.0, self.time + 1
        return self.observe(), reward, self.bankroll <= rules.ruin_level or self.time >= self.last
