"""What the edge of a strategy says of its next window. The next window is expected to have as many bets as usual."""

from dataclasses import dataclass

import numpy as np

from cleverbetter_dagster.dataset.edges.edges import Edges

EDGE_SHARPE = "edge_sharpe"
EDGE_RETURN = "edge_return"
EDGE_STD = "edge_std"

SMALLEST_VARIANCE = 1e-10
"""Of the return of a window, for strategies that place no bets."""


@dataclass(frozen=True, eq=False)
class EdgeWindow:
    """Estimates of each row's next window from what is known of all strategies at its decision, finite float64[n] each.

    Attributes:
        edges: of each row's strategy.
        bets: expected in its next window, float64[n].
    """

    edges: Edges
    bets: np.ndarray

    @property
    def expected_return(self) -> np.ndarray:
        """Mean of the next roi."""
        return self.edges.mean * self.bets

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the next roi around that mean: chance, and what is not known of the edge."""
        variance = self.edges.variance * self.bets + self.edges.uncertainty * self.bets**2
        return np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))

    @property
    def sharpe(self) -> np.ndarray:
        """Mean over standard deviation; not bounded."""
        return self.expected_return / self.std
