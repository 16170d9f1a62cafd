"""Other intervals of a mean over months than ours, for comparison: monthly values float[repeats, n] to half widths.

`bootstrap_14a9f62` is the method of commit 14a9f62: percentiles of resampled months, as far out as Student's t.
"""

from collections.abc import Callable

import numpy as np
from scipy import special
from scipy.linalg import toeplitz

LEVEL, RESAMPLES = 0.95, 1000
TAIL = (1.0 - LEVEL) / 2.0
BARTLETT_OF_ALL_LAGS = 4.771
"""97.5% point of the t statistic with a Bartlett kernel as long as the sample: Kiefer and Vogelsang (2002), table 1."""

Ends = tuple[np.ndarray, np.ndarray]
Method = Callable[[np.ndarray], Ends]


def bootstrap_14a9f62(values: np.ndarray, block: int = 1) -> Ends:
    """Percentiles of the means of resampled (blocks of) months; the expansion counts months."""
    n = values.shape[1]
    starts = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, -(-n // block)))
    draws = ((starts[:, :, None] + np.arange(block)) % n).reshape(RESAMPLES, -1)[:, :n]
    weights = (draws[:, :, None] == np.arange(n)).sum(axis=1) / n
    tail = float(special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, TAIL)))
    low, high = np.quantile(values @ weights.T, [tail, 1.0 - tail], axis=1)
    return low, high


def student(values: np.ndarray) -> Ends:
    """Student's t of independent months."""
    n = values.shape[1]
    return _around(values, values.std(axis=1, ddof=1) / np.sqrt(n), -special.stdtrit(n - 1, TAIL))


def cosines(count: int, tail: float = TAIL) -> Method:
    """Equal-weighted cosines with Student's t (Lazarus, Lewis, Stock and Watson, 2018)."""

    def interval(values: np.ndarray) -> Ends:
        n = values.shape[1]
        wave = np.cos(np.pi * np.outer(np.arange(1, count + 1), (np.arange(n) + 0.5) / n)) * np.sqrt(2.0 / n)
        error = np.sqrt(np.mean((values @ wave.T) ** 2, axis=1) / n)
        return _around(values, error, -special.stdtrit(count, tail))

    return interval


def newey_west(values: np.ndarray) -> Ends:
    """Bartlett kernel of 4 (n / 100)^(2/9) lags with Student's t, as `statsmodels` does by `cov_type="HAC"`."""
    n = values.shape[1]
    lags = max(int(4 * (n / 100.0) ** (2.0 / 9.0)), 1)
    variance = _bartlett(values, lags + 1) * n / (n - 1)
    return _around(values, np.sqrt(variance / n), -special.stdtrit(n - 1, TAIL))


def fixed_b(values: np.ndarray) -> Ends:
    """Bartlett kernel over all lags with its own critical value (Kiefer and Vogelsang, 2002)."""
    n = values.shape[1]
    return _around(values, np.sqrt(_bartlett(values, n) / n), BARTLETT_OF_ALL_LAGS)


def block_means(values: np.ndarray, blocks: int = 3) -> Ends:
    """Student's t of the means of a few long blocks (Ibragimov and Mueller, 2010)."""
    n = values.shape[1] // blocks * blocks
    means = values[:, :n].reshape(len(values), blocks, -1).mean(axis=2)
    return _around(means, means.std(axis=1, ddof=1) / np.sqrt(blocks), -special.stdtrit(blocks - 1, TAIL))


def ar1_posterior(values: np.ndarray, largest: float = 0.8) -> Ends:
    """Posterior of the mean of an AR(1) whose correlation is uniform on 0..0.8, by a grid (Zellner, 1971)."""
    n, grid = values.shape[1], np.linspace(0.0, largest, 9)
    weight, centre, spread = [], [], []
    for rho in grid:
        precision = np.linalg.inv(toeplitz(rho ** np.arange(n)) if rho else np.eye(n))
        variance = 1.0 / precision.sum()
        share = precision.sum(axis=0) * variance
        rest = precision - np.outer(precision.sum(axis=0), precision.sum(axis=0)) * variance
        squares = np.einsum("rm,mn,rn->r", values, rest, values, optimize=True)
        weight.append(0.5 * (np.linalg.slogdet(precision)[1] + np.log(variance)) - 0.5 * (n - 1) * np.log(squares))
        centre.append(values @ share)
        spread.append(np.sqrt(squares / (n - 1) * variance))
    chance = special.softmax(np.array(weight), axis=0)
    middle, scale = np.array(centre), np.array(spread)

    def quantile(share: float) -> np.ndarray:
        low, high = middle.min(axis=0) - 30 * scale.max(axis=0), middle.max(axis=0) + 30 * scale.max(axis=0)
        for _ in range(30):
            half = (low + high) / 2.0
            below = (chance * special.stdtr(n - 1, (half - middle) / scale)).sum(axis=0) < share
            low, high = np.where(below, half, low), np.where(below, high, half)
        return (low + high) / 2.0

    return quantile(TAIL), quantile(1.0 - TAIL)


CANDIDATES: dict[str, Method] = {
    "14a9f62": bootstrap_14a9f62,
    "14a9f62, blocks of 3": lambda values: bootstrap_14a9f62(values, 3),
    "Student's t": student,
    "Newey-West": newey_west,
    "fixed-b, Bartlett": fixed_b,
    "t of 3 block means": block_means,
    "AR(1) posterior": ar1_posterior,
    "2 cosines": cosines(2),
    "2 cosines, t at 96.7%": cosines(2, TAIL * 2 / 3),
    "3 cosines": cosines(3),
}


def _around(values: np.ndarray, error: np.ndarray, critical: float) -> Ends:
    mean = values.mean(axis=1)
    return mean - critical * error, mean + critical * error


def _bartlett(values: np.ndarray, length: int) -> np.ndarray:
    """Long-run variance by a Bartlett kernel that is 0 from lag `length` on."""
    n = values.shape[1]
    deviation = values - values.mean(axis=1, keepdims=True)
    kernel = toeplitz(np.maximum(0.0, 1.0 - np.arange(n) / length))
    return np.einsum("rm,mn,rn->r", deviation, kernel, deviation, optimize=True) / n
