"""The members of the ensemble's stack: base learners, which read features, and one that reads strategies."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from cleverbetter_dagster.learning.ensemble.base_learners import BaseLearner, fit_base_learners
from cleverbetter_dagster.learning.ensemble.edges_learner import EdgesLearner
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams

EDGES = "edges"


def fit_members(
    X: np.ndarray, y: np.ndarray, names: Sequence[str], params: EnsembleParams, seeds: Mapping[str, int], threads: int
) -> dict[str, BaseLearner]:
    """Fit every member to the same rows.

    Args:
        X: float64[n, columns], NaN where missing.
        y: labels 0 or 1, [n].
        names: of the columns.
        params, seeds, threads: as `fit_base_learners` takes them.

    Raises:
        LearningError: the labels are all of one class, or a column that a member reads is missing.
    """
    edges = EdgesLearner(names, params.edges_penalty)
    learners = fit_base_learners(X, y, params, seeds, threads)
    with threadpool_limits(1):
        edges.fit(X, y)
    return {**learners, EDGES: edges}


def member_weights(members: Iterable[str], edges_weight: float) -> list[float]:
    """What the meta-learner's weights are shrunk to: the base learners are alike, and share what is left evenly.

    >>> member_weights(["forest", "lightgbm", "edges"], 0.5)
    [0.25, 0.25, 0.5]
    """
    names = list(members)
    own = edges_weight if EDGES in names else 0.0
    base_learners = [name for name in names if name != EDGES]
    return [own if name == EDGES else (1.0 - own) / len(base_learners) for name in names]
