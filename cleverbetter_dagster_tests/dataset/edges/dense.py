"""The process over strategies as one dense normal distribution: slow, exact, without code of the package."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dense:
    """n strategies: scores float[n, d], constants of the prior, and the bets each has placed."""

    scores: np.ndarray
    bets: np.ndarray
    length: float
    smooth: float
    own: float
    common: float = 0.0

    def alike(self) -> np.ndarray:
        n = len(self.scores)
        result = np.empty((n, n))
        for i in range(n):
            for j in range(n):
                result[i, j] = np.exp(-((self.scores[i] - self.scores[j]) ** 2).mean() / (2 * self.length**2))
        return result

    def edges(self) -> np.ndarray:
        """Prior covariance of the edges."""
        mean = 100.0 * (self.smooth + self.own)
        return mean + self.smooth * self.alike() + self.own * np.eye(len(self.scores))

    def noise(self) -> np.ndarray:
        """Covariance of the noise of strategies that have placed bets."""
        deviation = np.sqrt(1.0 / self.bets)
        correlation = self.common * (1.0 + self.alike())
        np.fill_diagonal(correlation, 1.0)
        return correlation * np.outer(deviation, deviation)

    def posterior(self, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each edge after results; those without bets have none."""
        seen, prior = self.bets > 0, self.edges()
        known = Dense(self.scores[seen], self.bets[seen], self.length, self.smooth, self.own, self.common)
        gain = prior[:, seen] @ np.linalg.inv(prior[np.ix_(seen, seen)] + known.noise())
        return gain @ results[seen], np.diag(prior - gain @ prior[seen])

    def log_density(self, results: np.ndarray) -> float:
        covariance = self.edges() + self.noise()
        return float(-0.5 * (np.linalg.slogdet(covariance)[1] + results @ np.linalg.solve(covariance, results)))
