"""The constants are found by marginal likelihood."""

import numpy as np

from cleverbetter_dagster.dataset.edges.constants import FIRST, fitted
from cleverbetter_dagster.dataset.edges.gaussian_process import (
    Basis,
    Constants,
    Results,
    farthest_first,
    log_likelihood,
)


def simulated(constants: Constants, n: int = 400) -> tuple[np.ndarray, np.ndarray, Results]:
    """Points, scores and results of strategies with edges drawn from the prior."""
    rng = np.random.default_rng(5)
    scores, bets = rng.normal(size=(n, 2)), rng.integers(500, 4000, n).astype(float)
    points = scores[farthest_first(scores)]
    smooth = np.sqrt(constants.smooth) * Basis(points, constants.length).columns(scores) @ rng.normal(size=len(points))
    own, noise = rng.normal(0.0, np.sqrt(constants.own), n), rng.normal(0.0, 1.0, n) / np.sqrt(bets)
    return points, scores, Results(0.01 + smooth + own + noise, bets)


def test_planted_constants_are_found_again() -> None:
    planted = Constants(length=0.7, smooth=0.01, own=0.0005)
    found = fitted(*simulated(planted), FIRST)
    for name in ("length", "smooth", "own"):
        assert 1 / 3 < getattr(found, name) / getattr(planted, name) < 3, name


def test_strategies_without_likeness_are_given_edges_of_their_own() -> None:
    found = fitted(*simulated(Constants(length=0.7, smooth=1e-6, own=0.01)), FIRST)
    assert found.own > 30 * found.smooth


def test_fitted_constants_are_no_less_likely_than_the_planted() -> None:
    planted = Constants(length=0.7, smooth=0.01, own=0.0005)
    points, scores, results = simulated(planted)

    def likelihood(constants: Constants) -> float:
        return log_likelihood(Basis(points, constants.length).columns(scores), results, constants)

    assert likelihood(fitted(points, scores, results, FIRST)) >= likelihood(planted) - 0.5


def test_too_few_strategies_keep_the_constants() -> None:
    scores, start = np.zeros((9, 1)), Constants(2.0, 0.1, 0.1)
    assert fitted(scores[:1], scores, Results(np.arange(9.0), np.full(9, 100.0)), start) == start
