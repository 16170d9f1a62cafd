"""The process agrees with a dense one, and with two strategies worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from cleverbetter_dagster.dataset.edges.gaussian_process import (
    Basis,
    Constants,
    Posterior,
    Results,
    farthest_first,
    log_likelihood,
    posterior,
)
from cleverbetter_dagster_tests.dataset.edges.dense import Dense

CONSTANTS = Constants(length=0.8, smooth=0.02, own=0.005)


def posterior_of(scores: np.ndarray, results: Results, constants: Constants, points: int = 64) -> Posterior:
    basis = Basis(scores[farthest_first(scores, points)], constants.length)
    return posterior(basis, basis.columns(scores), results, constants)


def drawn(n: int, common: float = 0.0) -> tuple[np.ndarray, Results]:
    rng = np.random.default_rng(3)
    bets = rng.integers(20, 900, n).astype(float)
    return rng.normal(size=(n, 3)), Results(rng.normal(0.0, 0.1, n), bets, common)


def dense(scores: np.ndarray, results: Results, constants: Constants) -> Dense:
    return Dense(scores, results.bets, constants.length, constants.smooth, constants.own, results.common)


def test_two_strategies_agree_with_arithmetic_by_hand() -> None:
    # Half alike: exp(-distance^2 / 2) = 1/2. Variance of an edge 200 + 1 + 1, covariance 200 + 1/2, noise 1 (one bet).
    scores = np.array([[0.0], [np.sqrt(2.0 * np.log(2.0))]])
    found = posterior_of(scores, Results(np.array([1.0, 0.0]), np.ones(2)), Constants(1.0, 1.0, 1.0))
    determinant = 203.0**2 - 200.5**2
    assert found.mean == pytest.approx([(202 * 203 - 200.5**2) / determinant, 200.5 / determinant], rel=1e-6)
    left = 202 - (202**2 * 203 - 2 * 202 * 200.5**2 + 200.5**2 * 203) / determinant
    assert found.variance == pytest.approx([left, left], rel=1e-6)


@pytest.mark.parametrize("common", [0.0, 0.3])
def test_few_strategies_agree_with_a_dense_process(common: float) -> None:
    scores, results = drawn(30, common)
    found, (mean, variance) = (
        posterior_of(scores, results, CONSTANTS),
        dense(scores, results, CONSTANTS).posterior(results.edge),
    )
    assert found.mean == pytest.approx(mean, rel=1e-5, abs=1e-8)
    assert found.variance == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("common", [0.0, 0.3])
def test_the_likelihood_differs_like_a_dense_one(common: float) -> None:
    scores, results = drawn(30, common)
    basis, other = Basis(scores, CONSTANTS.length), replace(CONSTANTS, smooth=0.2, own=0.04)
    columns = basis.columns(scores)
    difference = log_likelihood(columns, results, other) - log_likelihood(columns, results, CONSTANTS)
    exact = [dense(scores, results, each).log_density(results.edge) for each in (other, CONSTANTS)]
    assert difference == pytest.approx(exact[0] - exact[1], rel=1e-5)


def test_a_strategy_without_bets_gets_its_neighbours_edge() -> None:
    scores, results = drawn(30)
    results = replace(results, bets=np.append(results.bets[:-1], 0.0))
    expected, uncertain = dense(scores, results, CONSTANTS).posterior(results.edge)
    found = posterior_of(scores, replace(results, edge=np.append(results.edge[:-1], 0.0)), CONSTANTS)
    assert found.mean[-1] == pytest.approx(expected[-1], rel=1e-5)
    assert found.variance[-1] == pytest.approx(uncertain[-1], rel=1e-5)


def test_a_strategy_seen_later_gets_what_its_like_say() -> None:
    scores, results = drawn(30)
    known = posterior_of(scores[:-1], Results(results.edge[:-1], results.bets[:-1]), CONSTANTS)
    mean, variance = known.of_new(scores[-1:])
    alone = Dense(scores, np.append(results.bets[:-1], 0.0), CONSTANTS.length, CONSTANTS.smooth, CONSTANTS.own)
    expected, uncertain = alone.posterior(results.edge)
    assert (mean[0], variance[0]) == pytest.approx((expected[-1], uncertain[-1]), rel=1e-5)


def test_unlike_strategies_say_little_of_each_other() -> None:
    scores = np.array([[0.0], [0.1], [9.0], [9.1]])
    results = Results(np.array([0.3, 0.0, -0.3, 0.0]), np.array([1e4, 0.0, 1e4, 0.0]))
    mean = posterior_of(scores, results, CONSTANTS).mean
    assert mean[1] > 0.1 and mean[3] < -0.1


def test_inducing_points_come_close_to_a_dense_process() -> None:
    scores, results = drawn(200)
    scores = scores[:, :1]
    mean = dense(scores, results, CONSTANTS).posterior(results.edge)[0]
    assert posterior_of(scores, results, CONSTANTS, points=24).mean == pytest.approx(mean, abs=1e-4)


def test_shared_months_make_the_mean_of_all_less_certain() -> None:
    scores, results = drawn(30)
    alone, together = (posterior_of(scores, replace(results, common=each), CONSTANTS) for each in (0.0, 0.3))
    assert (together.of_new(scores[:1])[1] > alone.of_new(scores[:1])[1]).all()


def test_equal_strategies_are_one_inducing_point() -> None:
    scores = np.array([[1.0, 2.0]]).repeat(5, axis=0)
    assert farthest_first(scores).tolist() == [0]
    found = posterior_of(scores, Results(np.zeros(5), np.full(5, 10.0)), CONSTANTS)
    assert np.isfinite(found.variance).all()


def test_strategies_that_nothing_describes_share_a_mean() -> None:
    results = Results(np.array([0.1, 0.2, 0.3]), np.array([1e6, 1e6, 0.0]))
    mean = posterior_of(np.zeros((3, 0)), results, CONSTANTS).mean
    assert mean == pytest.approx([0.1, 0.2, 0.15], abs=1e-3)


def test_columns_of_a_strategy_depend_on_it_alone() -> None:
    scores, _ = drawn(40)
    basis = Basis(scores[:9], 0.8)
    assert (basis.columns(scores)[17] == basis.columns(scores[17:18])[0]).all()
