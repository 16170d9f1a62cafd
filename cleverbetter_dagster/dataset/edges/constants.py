"""The constants of the process over strategies, by marginal likelihood: none of them is set by hand."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cleverbetter_dagster.dataset.edges.gaussian_process import Basis, Constants, Results, log_likelihood

FIRST = Constants(length=1.0, smooth=10.0**-3, own=10.0**-3)
"""Before anything can be told: edges as large as the noise of some hundred bets."""

FEWEST_STRATEGIES = 10
"""With fewer strategies that have placed bets, `FIRST` stays: a variance needs a sample."""

STEPS = {"length": 2.0**0.5, "smooth": 10.0**0.5, "own": 10.0**0.5}
BOUNDS = {"length": (0.25, 4.0), "smooth": (1e-6, 1.0), "own": (1e-6, 1.0)}
"""Factor from one value to the next, and the range, of each constant."""

FINER = 0.5
"""The second search goes by this power of the steps."""


def fitted(points: np.ndarray, scores: np.ndarray, results: Results, start: Constants) -> Constants:
    """The most likely constants, by climbing from `start` in steps of one constant at a time, then in finer ones.

    Args:
        points: scores of the inducing strategies, float64[m, scores].
        scores: of all strategies, float64[n, scores].
        results: of the n strategies.
        start: where to begin: the constants fitted before.
    """
    if np.count_nonzero(results.bets) < FEWEST_STRATEGIES:
        return start
    columns: dict[float, np.ndarray] = {}

    def likelihood(constants: Constants) -> float:
        if constants.length not in columns:
            columns[constants.length] = Basis(points, constants.length).columns(scores)
        return log_likelihood(columns[constants.length], results, constants)

    best, height = start, likelihood(start)
    for power in (1.0, FINER):
        before = None
        while before != best:
            before = best
            for candidate in _neighbours(best, power):
                if (value := likelihood(candidate)) > height:
                    best, height = candidate, value
    return best


def _neighbours(constants: Constants, power: float) -> Iterator[Constants]:
    for name, step in STEPS.items():
        low, high = BOUNDS[name]
        for factor in (step**power, step**-power):
            value = float(np.clip(getattr(constants, name) * factor, low, high))
            if value != getattr(constants, name):
                yield replace(constants, **{name: value})
