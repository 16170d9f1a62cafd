"""A Gaussian process over strategies: the edge of each, from its own results and those of strategies like it.

An edge is the mean return per bet over the standard deviation of a bet's return. The edge of strategy s is
`m + f(x_s) + o_s`: a mean of all, a smooth function of the scores that describe it (squared-exponential kernel), and a
part of its own. Its mean return so far is that edge and noise, of variance 1 over the number of its bets. Strategies
alike bet on the same races, so a share of the noise is common to them, by the same kernel: a month that many of them
share counts like few.

The smooth function is carried by at most `INDUCING` strategies, and what these cannot say of another one counts as its
own (FITC: Snelson, Ghahramani, NIPS 2005). With no more strategies than that the result is exact.

No matrix product has a shape that later rows could change, and BLAS is never asked for a product of one row.
"""

from dataclasses import dataclass, field

import numpy as np

INDUCING = 64

LARGEST_COMMON = 0.4
"""So that a fifth of a strategy's noise, at least, is its own."""

JITTER = 1e-8
"""Added to the variance of the inducing points, so that strategies with nearly equal scores can be among them."""

MEAN_VARIANCE = 100.0
"""Prior variance of the mean of all edges, in units of the other two together: any mean is likely beforehand."""


@dataclass(frozen=True)
class Constants:
    """The constants of the prior, all positive.

    Attributes:
        length: root mean square difference of scores over which edges stay alike.
        smooth: variance of the smooth function.
        own: variance of the own parts.
    """

    length: float
    smooth: float
    own: float


@dataclass(frozen=True, eq=False)
class Results:
    """What n strategies have earned so far.

    Attributes:
        edge: mean return per bet over the standard deviation of a bet's return, float64[n]; 0 without a bet.
        bets: number of bets, float64[n].
        common: share of the noise that any two strategies have in common, and as much again if they are alike; 0 to
            `LARGEST_COMMON`.
    """

    edge: np.ndarray
    bets: np.ndarray
    common: float = 0.0


@dataclass(frozen=True, eq=False)
class Basis:
    """The smooth function as a sum of columns, each with an independent standard normal weight.

    Attributes:
        points: scores of the inducing strategies, float64[m, scores].
        length: as in `Constants`.
    """

    points: np.ndarray
    length: float
    _root: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        variance = kernel(self.points, self.points, self.length) + JITTER * np.eye(len(self.points))
        object.__setattr__(self, "_root", np.linalg.inv(np.linalg.cholesky(variance)))

    def columns(self, scores: np.ndarray) -> np.ndarray:
        """Value of each column for each strategy, float64[n, m]; the squares of a row add up to 1 at most."""
        return np.einsum("ij,kj->ik", kernel(scores, self.points, self.length), self._root)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of the edges after the results.

    Attributes:
        basis: of the smooth function.
        constants: of the prior.
        mean: edge of each strategy, float64[n].
        variance: of that edge, float64[n].
    """

    basis: Basis
    constants: Constants
    mean: np.ndarray
    variance: np.ndarray
    _weights: np.ndarray
    _covariance: np.ndarray

    def of_new(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the edges of strategies without results, from those like them, float64[n] each."""
        columns = self.basis.columns(scores)
        shared = _shared(columns, self.constants)
        mean = np.einsum("ij,j->i", shared, self._weights)
        return mean, _own(columns, self.constants) + _quadratic(shared, self._covariance)


def farthest_first(scores: np.ndarray, count: int = INDUCING) -> np.ndarray:
    """Positions of strategies that are spread over all: the most usual one, then ever the one farthest from the chosen.

    Fewer than `count` if all others equal a chosen one. Source: Gonzalez, Theoretical Computer Science 38, 1985.

    >>> farthest_first(np.array([[0.0], [0.1], [2.0], [-3.0]]), 3).tolist()
    [0, 3, 2]
    """
    chosen = [int(np.argmin(np.einsum("ij,ij->i", scores, scores)))]
    distance = _distance(scores, chosen[0])
    while len(chosen) < count and distance.max() > 0.0:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, _distance(scores, chosen[-1]))
    return np.array(chosen)


def kernel(left: np.ndarray, right: np.ndarray, length: float) -> np.ndarray:
    """Prior correlation of the smooth function between strategies, float64[n, m]; 1 if nothing describes them."""
    return np.exp(_squares(left, right) / (-2.0 * length**2 * max(left.shape[1], 1)))


def posterior(basis: Basis, columns: np.ndarray, results: Results, constants: Constants) -> Posterior:
    """The edges of the strategies that have results.

    Args:
        basis: with the length of the constants.
        columns: of these strategies, float64[n, m].
        results: of n strategies.
        constants: of the prior.
    """
    shared, own, noise = _shared(columns, constants), _own(columns, constants), _Noise.of(columns, results)
    explained, weight = np.hstack([shared, noise.common]), noise.precision / (1.0 + own * noise.precision)
    weighted = explained * weight[:, None]
    covariance = np.linalg.inv(np.eye(explained.shape[1]) + weighted.T @ explained)
    weights = np.einsum("ij,j->i", covariance, np.einsum("ij,i->j", weighted, results.edge))
    gain, part = own * weight, shared.shape[1]
    surprise = results.edge - np.einsum("ij,j->i", explained, weights)
    mean = np.einsum("ij,j->i", shared, weights[:part]) + gain * surprise
    left = -gain[:, None] * explained
    left[:, :part] += shared
    variance = (1.0 - gain) * own + _quadratic(left, covariance)
    return Posterior(basis, constants, mean, variance, weights[:part], covariance[:part, :part])


def log_likelihood(columns: np.ndarray, results: Results, constants: Constants) -> float:
    """Logarithm of the density of the results under the constants, up to a number that does not depend on them."""
    own, noise = _own(columns, constants), _Noise.of(columns, results)
    explained = np.hstack([_shared(columns, constants), noise.common])
    weight = noise.precision / (1.0 + own * noise.precision)
    weighted = explained * weight[:, None]
    root = np.linalg.cholesky(np.eye(explained.shape[1]) + weighted.T @ explained)
    fitted = np.linalg.solve(root, np.einsum("ij,i->j", weighted, results.edge))
    seen = results.bets > 0
    volume = np.log(own[seen] + 1.0 / noise.precision[seen]).sum() + 2.0 * np.log(np.diagonal(root)).sum()
    return -0.5 * float(volume + (weight * results.edge**2).sum() - (fitted**2).sum())


def common_columns(columns: np.ndarray) -> np.ndarray:
    """What the common noise is a sum of: that of all strategies, and that of those alike, float64[n, m + 1]."""
    return np.column_stack([np.ones(len(columns)), columns])


def _shared(columns: np.ndarray, constants: Constants) -> np.ndarray:
    mean = np.full(len(columns), np.sqrt(MEAN_VARIANCE * (constants.smooth + constants.own)))
    return np.column_stack([mean, np.sqrt(constants.smooth) * columns])


def _own(columns: np.ndarray, constants: Constants) -> np.ndarray:
    carried = np.einsum("ij,ij->i", columns, columns)
    return constants.own + constants.smooth * np.maximum(1.0 - carried, 0.0)


@dataclass(frozen=True, eq=False)
class _Noise:
    """The noise of results: `common` columns with standard normal weights, and the precision of what is beside them."""

    common: np.ndarray
    precision: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray, results: Results) -> "_Noise":
        if not results.common:
            return cls(np.empty((len(columns), 0)), results.bets)
        together = common_columns(columns)
        seen = results.bets > 0
        deviation = np.sqrt(np.divide(results.common, results.bets, out=np.zeros_like(results.bets), where=seen))
        beside = 1.0 - results.common * np.einsum("ij,ij->i", together, together)
        return cls(deviation[:, None] * together, results.bets / beside)


def _quadratic(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", np.einsum("ij,jk->ik", rows, matrix), rows)


def _distance(scores: np.ndarray, position: int) -> np.ndarray:
    """Squared distance of each strategy from one of them, float64[n]."""
    away = scores - scores[position]
    return np.einsum("ij,ij->i", away, away)


def _squares(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances, column by column: float64[n, m]."""
    total = np.zeros((len(left), len(right)))
    for column in range(left.shape[1]):
        total += (left[:, column, None] - right[None, :, column]) ** 2
    return total
