"""Rows as an agent sees them: what the probability says of the next window, and every feature robustly scaled."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.staking import StakingSpec, kelly_fraction, return_moments
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.learning.model import feature_matrix
from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.probability import ForwardView
from cleverbetter_dagster.learning.scaling import median_and_spread
from cleverbetter_dagster.learning.shrunk_logistic import log_odds

CLIP = 5.0
"""Interquartile ranges from the median beyond which a feature says no more."""

FORECAST = ("probability_log_odds", "expected_sharpe_ratio", "kelly_stake")
"""What is seen of the forecast, before the features: log-odds, five times the mean over the deviation of the next
return, and the full Kelly stake as a share of the largest stake allowed."""


@dataclass(frozen=True, eq=False)
class AgentFeatures:
    """Scaling of the features `names`: medians and interquartile ranges of past rows; and the bounds on stakes."""

    names: tuple[str, ...]
    median: FloatArray
    spread: FloatArray
    staking: StakingSpec

    @classmethod
    def fit(cls, values: FloatArray, names: tuple[str, ...], staking: StakingSpec) -> Self:
        """Scale by past rows, float[n >= 1, k]; a feature without a value, or that never varies, becomes 0."""
        return cls(names, *median_and_spread(values), staking)

    def moments(self, values: FloatArray, probability: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of the next return, [n] each, of rows float[n, k] with their probabilities."""
        gain, loss = (values[:, self.names.index(name)] for name in (SHRUNK_GAIN, SHRUNK_LOSS))
        return return_moments(probability, gain, loss)

    def decisions(self, view: ForwardView) -> Decisions:
        """The rows of a view with an edge, in which there is something to decide."""
        values, windows = feature_matrix(view.examples.X, self.names), view.examples.windows
        mean, variance = self.moments(values, view.probability)
        edge = np.flatnonzero((mean > 0) & np.isfinite(variance))
        order = edge[np.argsort(windows.decided[edge], kind="stable")]
        seen = self.seen(values[order], view.probability[order])
        times = (windows.decided[order], windows.opens[order], windows.closes[order])
        return Decisions(*times, seen, mean[order], variance[order], view.examples.next_roi[order])

    def seen(self, values: FloatArray, probability: FloatArray) -> np.ndarray:
        """Rows as the agent sees them, float32[n, 3 + k], finite: NaN is the median."""
        mean, variance = (np.nan_to_num(moment) for moment in self.moments(values, probability))
        deviation = np.sqrt(variance)
        sharpe = np.divide(mean, deviation, out=np.zeros(len(mean)), where=deviation > 0)
        largest = self.staking.max_stake_fraction
        varies = self.spread > 0
        scaled = np.where(varies, (values - self.median) / np.where(varies, self.spread, 1.0), 0.0)
        kelly = np.minimum(kelly_fraction(mean, variance), largest) / largest
        parts = [log_odds(probability), 5.0 * sharpe, kelly, np.nan_to_num(scaled)]
        return np.clip(np.column_stack(parts), -CLIP, CLIP).astype(np.float32)
