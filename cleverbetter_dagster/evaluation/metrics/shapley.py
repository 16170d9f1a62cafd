"""What each feature adds to a probability: Shapley values, for any model that gives probabilities.

Written here because the package `shap` needs numba, and compiles for 20-50 s in each process before its first value.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import BoolArray, FloatArray, IntArray

ROWS, BACKGROUND = 100, 12
"""Rows explained, and rows that stand for an unknown feature: a row costs 2 x features x background predictions."""

ROWS_AT_ONCE = 5_000
"""About so many rows go to the model in one call: each call has a cost of its own, and networks take memory by row."""


def shapley_values(
    probability: Callable[[pd.DataFrame], FloatArray],
    background: pd.DataFrame,
    rows: pd.DataFrame,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shapley values of a sample of rows, estimated from one order of the features a row and its reverse.

    A feature's value is the gain of the mean probability over the background when the feature takes the row's value,
    averaged over orders of the features; an order and its reverse make interactions of two features exact. The values
    of a row add up to its probability minus the mean probability of the background. Source: Castro, Gomez and
    Tejada (2009), "Polynomial calculation of the Shapley value based on sampling"; reversed orders: Mitchell et al.
    (2022), "Sampling Permutations for Shapley Value Estimation".

    Args:
        probability: from a frame of features, shape (m, k), to probabilities, shape (m,).
        background: rows the model was fitted on; `BACKGROUND` of them are drawn.
        rows: rows to explain; at most `ROWS` of them are drawn.
        seed: of both samples and of the orders.

    Returns:
        The values, in probability, and the features of the sampled rows: both of shape (at most ROWS, k).
    """
    known = background.sample(min(BACKGROUND, len(background)), random_state=seed)
    sample = rows.sample(min(ROWS, len(rows)), random_state=seed).sort_index()
    explained = sample.to_numpy(dtype=np.float64)
    n, k = explained.shape
    unknown = np.broadcast_to(known[sample.columns].to_numpy(dtype=np.float64), (n, len(known), k))
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(k), (n, 1)), axis=1)

    def predicted(rows: FloatArray) -> FloatArray:
        answer = probability(pd.DataFrame(rows, columns=sample.columns)) if len(rows) else np.zeros(0)
        return np.asarray(answer, dtype=np.float64)

    # The forward pass adds features in order; the backward pass removes them, which gives the reverse order's values.
    values, every = np.zeros((n, k)), np.arange(n)
    mixed, before = unknown.copy(), predicted(unknown.reshape(-1, k)).reshape(n, -1)
    at_once = max(1, ROWS_AT_ONCE // before.size)
    for target, sign in ((np.broadcast_to(explained[:, None], unknown.shape), 1.0), (unknown, -1.0)):
        for start in range(0, k, at_once):
            steps = list(_steps(mixed, target, order.T[start : start + at_once]))
            of_changed = predicted(np.concatenate([taken for _, _, taken in steps]))
            for feature, changed, taken in steps:
                now, of_changed = np.split(of_changed, [len(taken)])
                after = before.copy()  # an unchanged row keeps its probability
                after[changed] = now
                values[every, feature] += sign * (after.mean(axis=1) - before.mean(axis=1)) / 2
                before = after
    return pd.DataFrame(values, columns=sample.columns, index=sample.index), sample


def _steps(
    mixed: FloatArray, target: FloatArray, features: IntArray
) -> Iterator[tuple[IntArray, BoolArray, FloatArray]]:
    """Let rows take one feature after the other from `target`: which, where that changed them, and the changed rows.

    Args:
        mixed: float[n, background, k], changed in place.
        target: of the same shape.
        features: int[steps, n]: the feature that the rows of each explained row take in each step.
    """
    every = np.arange(len(mixed))
    for feature in features:
        old, new = mixed[every, :, feature], target[every, :, feature]
        changed = (old != new) & ~(np.isnan(old) & np.isnan(new))
        mixed[every, :, feature] = new
        yield feature, changed, mixed[changed]
