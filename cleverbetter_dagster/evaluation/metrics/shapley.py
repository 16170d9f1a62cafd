"""What each feature adds to a probability: Shapley values, for any model that can be asked for probabilities.

Trees, networks and stacks of both are treated alike. Written here because the package `shap` needs numba and compiles
for 20-50 s in each process before its first value, for what is a loop over features.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import FloatArray

ROWS, BACKGROUND = 100, 12
"""Rows explained, and rows that stand for "feature unknown": a row costs 2 x features x background predictions."""


def shapley_values(
    probability: Callable[[pd.DataFrame], FloatArray],
    background: pd.DataFrame,
    rows: pd.DataFrame,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shapley values of a sample of rows, estimated from one order of the features a row and its reverse.

    A feature's value is what the mean probability over the background gains as the feature takes the row's value,
    averaged over orders in which features do so; an order and its reverse make interactions of two features exact.
    The values of a row add up to its probability minus the mean one of the background. Source: Castro, Gomez and
    Tejada (2009), "Polynomial calculation of the Shapley value based on sampling"; reversed orders: Mitchell et al.
    (2022), "Sampling Permutations for Shapley Value Estimation".

    Args:
        probability: from a frame of features, shape (m, k), to probabilities, shape (m,).
        background: rows the model knows; a sample of `BACKGROUND` of them is drawn.
        rows: to be explained; a sample of at most `ROWS` of them is drawn.
        seed: of both samples and of the orders.

    Returns:
        The values, in probability, and the features of the sampled rows: both of shape (at most ROWS, k).
    """
    known = background.sample(min(BACKGROUND, len(background)), random_state=seed)
    asked = rows.sample(min(ROWS, len(rows)), random_state=seed).sort_index()
    explained = asked.to_numpy(dtype=np.float64)
    n, k = explained.shape
    unknown = np.broadcast_to(known[asked.columns].to_numpy(dtype=np.float64), (n, len(known), k))
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(k), (n, 1)), axis=1)

    def mean_probability(values: FloatArray) -> FloatArray:
        said = probability(pd.DataFrame(values.reshape(-1, k), columns=asked.columns))
        return np.asarray(said, dtype=np.float64).reshape(n, -1).mean(axis=1)

    # One way each row's features become known in its order; the way back they become unknown in the same order, which
    # gives what they add in the reverse one.
    values, every = np.zeros((n, k)), np.arange(n)
    mixed, before = unknown.copy(), mean_probability(unknown)
    for target, sign in ((np.broadcast_to(explained[:, None], unknown.shape), 1.0), (unknown, -1.0)):
        for feature in order.T:
            mixed[every, :, feature] = target[every, :, feature]
            after = mean_probability(mixed)
            values[every, feature] += sign * (after - before) / 2
            before = after
    return pd.DataFrame(values, columns=asked.columns, index=asked.index), asked
