"""What to expect of a strategy's next window: its own history and, while that is short, everybody's.

Windows differ in size, so they are compared per bet: the expected return grows with the number of bets, and its
standard deviation with their square root. Each estimate mixes a fixed amount of average experience into the
strategy's own (empirical Bayes with a prior of known weight; Efron and Morris, Stein's paradox in statistics, 1977),
for as many bets as the strategy places per window. The weights were chosen on the validation part of real rows.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cleverbetter_dagster.dataset.history import History, Population, ratio

SHRUNK_RETURN = "shrunk_return"
SHRUNK_STD = "shrunk_std"
SHRUNK_GAIN = "shrunk_gain"
SHRUNK_LOSS = "shrunk_loss"

LARGEST_SHARPE = 20.0
SMALLEST_STD = 1e-4
"""Bounds on the Sharpe ratio and its divisor: where returns have hardly varied yet, the ratio has no measure."""

PRIOR_BETS = 300.0
"""Bets of average return per bet that are mixed into a strategy's own."""

PRIOR_WINDOWS = 2.0
"""Windows of average size that are mixed into a strategy's own gains, losses and variance."""

PRIOR_SHARE_WINDOWS = 8.0
"""Windows of the population's profitable share that are mixed into a strategy's own."""


@dataclass(frozen=True, eq=False)
class NextWindow:
    """Estimates of each row's next window from what is known at its decision time, finite float64[n] each.

    Attributes:
        roi: of each row, a fraction of capital, float64[n].
        bets: placed in each row's window, float64[n], not negative.
        history: of the rows' own sequences.
        population: of all rows.
    """

    roi: np.ndarray
    bets: np.ndarray
    history: History
    population: Population

    @cached_property
    def expected_return(self) -> np.ndarray:
        """Mean of the next roi."""
        edge = ratio(self.population.total(self.roi), self.population.total(self.bets))
        shrunk_edge = (self.history.total(self.roi) + PRIOR_BETS * edge) / (self.history.total(self.bets) + PRIOR_BETS)
        return shrunk_edge * self._usual_bets

    @cached_property
    def std(self) -> np.ndarray:
        """Standard deviation of the next roi."""
        prior = PRIOR_WINDOWS * self._variance_per_bet * self._usual_bets
        seen = self.history.windows_seen
        return np.sqrt((seen * self.history.variance(self.roi) + prior) / (seen - 1 + PRIOR_WINDOWS))

    @property
    def sharpe(self) -> np.ndarray:
        """Mean over standard deviation, `LARGEST_SHARPE` at most either way."""
        return np.clip(self.expected_return / np.maximum(self.std, SMALLEST_STD), -LARGEST_SHARPE, LARGEST_SHARPE)

    @property
    def profitable_share(self) -> np.ndarray:
        """Share of windows with a roi above 0, 0..1."""
        profitable = (self.roi > 0).astype(float)
        share = self.history.total(profitable) + PRIOR_SHARE_WINDOWS * self.population.mean(profitable)
        return share / (self.history.windows_seen + PRIOR_SHARE_WINDOWS)

    @property
    def gain(self) -> np.ndarray:
        """Mean of the next roi where it is positive; 0 before anybody has gained."""
        return self._size(np.maximum(self.roi, 0.0), unknown=0.0)

    @property
    def loss(self) -> np.ndarray:
        """Mean magnitude of the next roi where it is negative; 1, the whole capital, before anybody has lost."""
        return self._size(np.maximum(-self.roi, 0.0), unknown=1.0)

    @cached_property
    def _usual_bets(self) -> np.ndarray:
        return self.history.mean(self.bets)

    @property
    def _variance_per_bet(self) -> np.ndarray:
        """The population's; while no strategy has two windows, its second moment."""
        seen, population = self.history.windows_seen, self.population
        repeated = seen > 1
        # A deviation from a mean of n windows that includes it is too small by (n - 1) / n.
        deviation = np.where(repeated, (self.roi - self.history.mean(self.roi)) ** 2 * ratio(seen, seen - 1), 0.0)
        while_all_are_new = ratio(population.total(self.roi**2), population.total(self.bets))
        return ratio(population.total(deviation), population.total(self.bets * repeated), while_all_are_new)

    def _size(self, sizes: np.ndarray, unknown: float) -> np.ndarray:
        """Mean of the positive `sizes`, own and `PRIOR_WINDOWS` of the population's, for the usual bets."""
        scale = np.sqrt(np.maximum(self.bets, 1.0))
        happened = np.where(sizes > 0, scale, 0.0)
        usual = self.history.mean(scale)
        weight = PRIOR_WINDOWS * usual
        known = self.population.total(happened) > 0
        typical = ratio(self.population.total(sizes), self.population.total(happened))
        shrunk = usual * (self.history.total(sizes) + weight * typical) / (self.history.total(happened) + weight)
        return np.where(known, shrunk, unknown)
