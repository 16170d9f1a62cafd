"""Leaves of fitted trees that go on learning: each keeps the weight of its rows, and new rows are added to it.

The trees keep their splits. Reading and writing the leaves of scikit-learn's histogram boosting touches attributes
it does not promise to keep (tested against the releases pyproject.toml allows); everything else is public.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    from lightgbm import Booster
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

Leaves = tuple[np.ndarray, ...]
"""One array per tree, with an entry per leaf."""


@dataclass(frozen=True, eq=False)
class BoostedLeaves:
    """The leaves of boosted trees for the log loss, in order of boosting.

    Attributes:
        start: log-odds before the first tree.
        steps: what each leaf adds to the log-odds.
        weights: sum over all rows learned from of p (1 - p), p the probability before the tree.
    """

    start: float
    steps: Leaves
    weights: Leaves

    @classmethod
    def weighed(cls, start: float, steps: Leaves, index: np.ndarray) -> Self:
        """Weigh leaves by the rows they were fitted on.

        Args:
            start: log-odds before the first tree.
            steps: of the fitted trees.
            index: the leaf each row falls into, int[n, trees].
        """
        margin, weights = np.full(len(index), start), []
        for leaf, step in zip(index.T, steps, strict=True):
            weights.append(np.bincount(leaf, _variance(margin), len(step)))
            margin = margin + step[leaf]
        return cls(start, steps, tuple(weights))

    def updated(self, index: np.ndarray, y: np.ndarray, rate: float, l2: float) -> Self:
        """The leaves after further rows: tree by tree a Newton step over old and new rows together.

        The old rows' gradient at the old step follows from that step having been optimal. The changes of earlier
        trees enter with the leaf's weight, and are taken to be the same for old rows as for new ones in the leaf;
        otherwise many small trees would each correct the same error.

        Args:
            index: the leaf each new row falls into, int[n, trees].
            y: labels of the new rows, 0 or 1, [n].
            rate: learning rate the trees were grown at.
            l2: penalty they were grown with.
        """
        before = after = np.full(len(index), self.start)
        steps, weights = [], []
        for leaf, step, weight in zip(index.T, self.steps, self.weights, strict=True):
            variance = _variance(after)
            count = len(step)
            added = np.bincount(leaf, variance, count)
            gradient = np.bincount(leaf, expit(after) - y, count)
            moved = np.bincount(leaf, variance * (after - before), count)
            pull = weight * np.divide(moved, added, out=np.zeros(count), where=added > 0)
            steps.append((step * (weight + l2) - rate * (gradient + pull)) / (weight + added + l2))
            weights.append(weight + added)
            before, after = before + step[leaf], after + steps[-1][leaf]
        return replace(self, steps=tuple(steps), weights=tuple(weights))


def forest_with(forest: "ExtraTreesClassifier", X: np.ndarray, y: np.ndarray) -> "ExtraTreesClassifier":
    """A copy of a forest with further rows in its leaves.

    A new row counts `max_samples` in each tree, which is how often an earlier row was drawn on average.
    """
    updated = copy.deepcopy(forest)
    drawn = float(forest.max_samples)
    for estimator, leaf in zip(updated.estimators_, forest.apply(X).T, strict=True):
        tree = estimator.tree_
        rows, share = tree.weighted_n_node_samples, tree.value[:, 0, 1]
        total = rows + np.bincount(leaf, minlength=len(rows)) * drawn
        positive = (share * rows + np.bincount(leaf, y, len(rows)) * drawn) / total
        tree.value[:, 0, 1], tree.value[:, 0, 0] = positive, 1.0 - positive
        tree.weighted_n_node_samples[:] = total
    return updated


def histogram_leaves(model: "HistGradientBoostingClassifier", X: np.ndarray) -> BoostedLeaves:
    """The leaves of scikit-learn's histogram boosting, weighed by the rows `X` it was fitted on."""
    steps = tuple(tree.nodes["value"][_leaf_nodes(tree)] for tree in _trees(model))
    return BoostedLeaves.weighed(float(model._baseline_prediction.item()), steps, histogram_index(model, X))


def histogram_index(model: "HistGradientBoostingClassifier", X: np.ndarray) -> np.ndarray:
    """The leaf each row falls into, int[n, trees]; leaves are numbered in the order their nodes are stored."""
    values, bins = np.ascontiguousarray(X), model._bin_mapper.make_known_categories_bitsets()
    numbered = histogram_with(model, tuple(np.arange(_leaf_nodes(tree).sum(), dtype=float) for tree in _trees(model)))
    return np.column_stack([tree.predict(values, *bins, 1).astype(np.intp) for tree in _trees(numbered)])


def histogram_with(model: "HistGradientBoostingClassifier", steps: Leaves) -> "HistGradientBoostingClassifier":
    """A copy of the model with other steps in its leaves; it shares all else."""
    trees = []
    for tree, step in zip(_trees(model), steps, strict=True):
        fresh = copy.copy(tree)
        fresh.nodes = tree.nodes.copy()
        fresh.nodes["value"][_leaf_nodes(tree)] = step
        trees.append([fresh])
    updated = copy.copy(model)
    updated._predictors = trees
    return updated


def lightgbm_leaves(booster: "Booster", X: np.ndarray, y: np.ndarray) -> BoostedLeaves:
    """LightGBM's leaves, weighed by the rows `X` and labels `y` it was fitted on; its first tree holds the start."""
    start, index = float(logit(y.mean())), lightgbm_index(booster, X)
    values = [
        np.array([booster.get_leaf_output(number, leaf) for leaf in range(leaves.max() + 1)])
        for number, leaves in enumerate(index.T)
    ]
    steps = (values[0] - start, *values[1:])
    return BoostedLeaves.weighed(start, steps, index)


def lightgbm_index(booster: "Booster", X: np.ndarray) -> np.ndarray:
    """The leaf each row falls into, int[n, trees]."""
    index = np.asarray(booster.predict(X, pred_leaf=True, num_threads=1), dtype=np.intp)
    return index.reshape(len(X), -1)


def lightgbm_with(booster: "Booster", leaves: BoostedLeaves) -> "Booster":
    """A copy of the booster with the given leaves."""
    updated = copy.deepcopy(booster)
    for number, steps in enumerate(leaves.steps):
        for leaf, value in enumerate(steps + (0.0 if number else leaves.start)):
            updated.set_leaf_output(number, leaf, float(value))
    return updated


def _variance(margin: np.ndarray) -> np.ndarray:
    probability = expit(margin)
    return probability * (1.0 - probability)


def _trees(model: "HistGradientBoostingClassifier") -> Iterator[Any]:
    return (tree for (tree,) in model._predictors)


def _leaf_nodes(tree: Any) -> np.ndarray:
    return tree.nodes["is_leaf"].astype(bool)
