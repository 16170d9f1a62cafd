"""Leaves and weights that take in new rows, beside what fitting all rows together would give."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.ensemble import ExtraTreesClassifier

from cleverbetter_dagster.learning.ensemble.base_learners import HistogramLearner, LightGBMLearner, LogisticLearner
from cleverbetter_dagster.learning.ensemble.leaf_evidence import (
    BoostedLeaves,
    forest_with,
    histogram_with,
    lightgbm_with,
)
from cleverbetter_dagster.learning.ensemble.params import BaseParams
from cleverbetter_dagster.learning.shrunk_logistic import ShrunkLogistic

RATE, L2 = 0.1, 3.0
PARAMS = BaseParams(n_estimators=15, min_leaf_rows=10)


def newton(y: np.ndarray, margin: np.ndarray) -> float:
    """The step of one leaf that holds all these rows."""
    probability = expit(margin)
    return float(RATE * (y - probability).sum() / ((probability * (1 - probability)).sum() + L2))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.booleans()), min_size=4, max_size=40))
def test_one_updated_tree_equals_the_tree_of_all_rows(drawn):
    y, leaf, is_new = (np.array(column) for column in zip(*drawn, strict=True))
    start = 0.3
    old = ~is_new
    steps = np.array([newton(y[old & (leaf == one)], np.full((old & (leaf == one)).sum(), start)) for one in range(3)])
    leaves = BoostedLeaves.weighed(start, (steps,), leaf[old][:, None])
    updated = leaves.updated(leaf[is_new][:, None], y[is_new], RATE, L2)
    whole = [newton(y[leaf == one], np.full((leaf == one).sum(), start)) for one in range(3)]
    np.testing.assert_allclose(updated.steps[0], whole, atol=1e-12)


def test_a_leaf_by_hand():
    # p = 1/2: each of four old rows weighs 1/4; the step 0.1 (0.5 + 0.5 + 0.5 - 0.5) / (1 + 3) = 0.025.
    leaves = BoostedLeaves.weighed(0.0, (np.array([0.025]),), np.zeros((4, 1), dtype=int))
    assert leaves.weights[0].tolist() == [1.0]
    # Two new rows of class 0 pull with -1/2 each: 0.1 (1 - 1) / (1.5 + 3) = 0.
    updated = leaves.updated(np.zeros((2, 1), dtype=int), np.zeros(2), RATE, L2)
    assert updated.steps[0] == pytest.approx([0.0], abs=1e-15)
    assert updated.weights[0].tolist() == [1.5]
    assert leaves.steps[0].tolist() == [0.025]


def test_many_trees_do_not_each_correct_the_same_error():
    """98 old rows in balance, 2 new ones of class 1: the log-odds move as far as 100 rows together would have them."""
    trees, old = 200, np.tile([0, 1], 490)
    leaves = BoostedLeaves.weighed(0.0, (np.zeros(1),) * trees, np.zeros((len(old), trees), dtype=int))
    updated = leaves.updated(np.zeros((20, trees), dtype=int), np.ones(20), RATE, L2)
    moved = sum(float(step[0]) for step in updated.steps)
    together = logit((old.sum() + 20) / (len(old) + 20))
    assert moved == pytest.approx(together, rel=0.05)
    assert RATE * trees * together > 10 * moved  # what it would be if every tree began afresh


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, (rng.random(600) < expit(np.nan_to_num(X[:, 0]))).astype(np.int8)


@pytest.mark.parametrize("kind", [HistogramLearner, LightGBMLearner])
def test_leaves_read_and_written_back_are_the_same_model(kind, rows):
    X, y = rows
    learner = kind(PARAMS, 0, 1)
    learner.fit(X, y)
    learner.weigh(X, y)
    if kind is HistogramLearner:
        copied = histogram_with(learner.model, learner.leaves.steps).predict_proba(X)[:, 1]
    else:
        copied = lightgbm_with(learner.booster, learner.leaves).predict(X)
    np.testing.assert_allclose(copied, learner.probability(X), rtol=1e-12)
    assert learner.leaves.start == pytest.approx(logit(y.mean()))


@pytest.mark.parametrize("kind", [HistogramLearner, LightGBMLearner, LogisticLearner])
def test_an_update_comes_close_to_fitting_all_rows(kind, rows):
    X, y = rows
    known, learner, whole = slice(0, 560), kind(PARAMS, 0, 1), kind(PARAMS, 0, 1)
    learner.fit(X[known], y[known])
    learner.weigh(X[known], y[known])
    whole.fit(X, y)
    before, stored = learner.probability(X), pickle.dumps(learner)
    updated = learner.updated(X[560:], y[560:])
    assert pickle.dumps(learner) == stored
    np.testing.assert_array_equal(learner.probability(X), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(updated)).probability(X), updated.probability(X))
    own, given_all = (((model.probability(X[560:]) - y[560:]) ** 2).mean() for model in (updated, whole))
    assert own < ((before[560:] - y[560:]) ** 2).mean()
    assert own == pytest.approx(given_all, abs=0.01)


def test_a_forests_leaf_by_hand():
    X, y = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1])
    forest = ExtraTreesClassifier(1, bootstrap=True, max_samples=1.0, random_state=0).fit(X, y)
    tree = copy.deepcopy(forest).estimators_[0].tree_
    leaf = int(forest.apply(np.array([[1.0]]))[0, 0])
    rows, share = tree.weighted_n_node_samples[leaf], tree.value[leaf, 0, 1]
    updated = forest_with(forest, np.array([[1.0]] * 3), np.array([0, 0, 1]))
    now = updated.estimators_[0].tree_
    assert now.value[leaf, 0, 1] == pytest.approx((share * rows + 1) / (rows + 3))
    assert now.value[leaf, 0].sum() == pytest.approx(1.0)
    assert now.weighted_n_node_samples[leaf] == rows + 3
    np.testing.assert_array_equal(forest.estimators_[0].tree_.value, tree.value)


def test_an_updated_shrunk_logistic_is_close_to_a_fit():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2000, 2))
    y = (rng.random(2000) < expit(z @ [0.8, 0.3] - 0.4)).astype(float)
    first = ShrunkLogistic.fit(z[:1900], y[:1900], guess=[0.5, 0.5], penalty=10.0)
    whole = ShrunkLogistic.fit(z, y, guess=[0.5, 0.5], penalty=10.0)
    updated = first.updated(z[1900:], y[1900:])
    np.testing.assert_allclose(updated.weights, whole.weights, atol=2e-3)
    np.testing.assert_allclose(updated.precision, whole.precision, rtol=0.02, atol=2.0)
    assert updated.updated(np.empty((0, 2)), np.empty(0)) == updated
