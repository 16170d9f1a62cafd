"""The member that reads strategies starts from the process over them and learns from labels."""

import numpy as np
import pytest
from scipy.stats import norm

from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.ensemble.edges_learner import READ, EdgesLearner

NAMES = ("other", *READ, "another")


def rows(n: int = 3000, seed: int = 0) -> np.ndarray:
    """Columns of `NAMES`; the first and the last are noise."""
    rng = np.random.default_rng(seed)
    sharpe, deviation = rng.normal(0.0, 0.8, n), np.exp(rng.normal(-4.0, 0.7, n))
    gain, loss = deviation * np.exp(rng.normal(0.0, 0.5, (2, n)))
    return np.column_stack([rng.normal(size=n), sharpe, deviation, gain, loss, rng.normal(size=n)])


def fitted(X: np.ndarray, y: np.ndarray, penalty: float = 1.0) -> EdgesLearner:
    learner = EdgesLearner(NAMES, penalty)
    learner.fit(X, y)
    return learner


def drawn(probability: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(1).random(len(probability)) < probability).astype(np.int8)


def test_without_anything_learned_it_is_the_process() -> None:
    X = rows()
    y = np.tile([0, 1], len(X) // 2)
    learner = fitted(X, y, penalty=1e6)
    assert learner.probability(X) == pytest.approx(norm.cdf(X[:, 1]), abs=0.03)


def test_it_learns_how_much_surer_to_be() -> None:
    X = rows()
    truth = norm.cdf(0.4 * X[:, 1])
    assert fitted(X, drawn(truth)).probability(X) == pytest.approx(truth, abs=0.06)


def test_lopsided_returns_change_the_probability() -> None:
    X = rows()
    truth = norm.cdf(X[:, 1] - 0.8 * np.log(X[:, 3] / X[:, 4]))
    learner = fitted(X, drawn(truth))
    assert np.corrcoef(learner.probability(X), truth)[0, 1] > 0.98


def test_later_rows_give_the_fit_of_all_rows() -> None:
    X = rows()
    y = drawn(norm.cdf(X[:, 1]))
    first, whole = fitted(X[:2500], y[:2500]), fitted(X, y)
    updated = first.updated(X[2500:], y[2500:])
    assert updated.probability(X) == pytest.approx(whole.probability(X), abs=0.01)
    assert not np.array_equal(first.theta, updated.theta)


def test_other_columns_do_not_matter() -> None:
    X = rows()
    learner = fitted(X, drawn(norm.cdf(X[:, 1])))
    noise = np.random.default_rng(3).normal(size=(len(X), 2))
    other = np.column_stack([noise[:, 0], X[:, 1:5], noise[:, 1]])
    np.testing.assert_array_equal(learner.probability(other), learner.probability(X))
    assert learner.importance()[[0, 5]].tolist() == [0.0, 0.0] and (learner.importance()[1:5] > 0).all()


def test_strategies_without_gains_or_spread_have_a_probability() -> None:
    X = rows(100)
    X[:, 2], X[:, 3] = 1e-5, 0.0
    learner = fitted(X, np.tile([0, 1], 50))
    assert np.isfinite(learner.probability(X)).all()


def test_a_missing_column_is_named() -> None:
    with pytest.raises(LearningError, match="edge_std"):
        EdgesLearner([name for name in NAMES if name != "edge_std"], 1.0)
