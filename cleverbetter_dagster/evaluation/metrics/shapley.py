"""What each feature adds to a probability: Shapley values, for any model that gives probabilities.

Written here because the package `shap` needs numba, and compiles for 20-50 s in each process before its first value.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import FloatArray

ROWS, BACKGROUND = 100, 12
"""Rows explained, and rows that stand for an unknown feature: a row costs 2 x features x background predictions."""

ROWS_AT_ONCE = 20_000
"""A call of a model costs as much as hundreds of rows."""


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

    every = np.arange(n)

    def states() -> Iterator[FloatArray]:
        """The forward pass adds features in order; the backward pass removes them, which gives the reverse order's
        values.
        """
        mixed = unknown.copy()
        yield mixed.copy()
        for target in (np.broadcast_to(explained[:, None], unknown.shape), unknown):
            for feature in order.T:
                mixed[every, :, feature] = target[every, :, feature]
                yield mixed.copy()

    means = _mean_probabilities(probability, states(), sample.columns)
    values, before = np.zeros((n, k)), next(means)
    for sign in (1.0, -1.0):
        for feature in order.T:
            after = next(means)
            values[every, feature] += sign * (after - before) / 2
            before = after
    return pd.DataFrame(values, columns=sample.columns, index=sample.index), sample


def _mean_probabilities(
    probability: Callable[[pd.DataFrame], FloatArray], states: Iterator[FloatArray], columns: pd.Index
) -> Iterator[FloatArray]:
    """Of each state (n, background, k) the mean probability over the background, shape (n,); many in one call."""
    for first in states:
        n, background, k = first.shape
        batch = np.stack([first, *islice(states, max(ROWS_AT_ONCE // (n * background), 1) - 1)])
        of_rows = np.asarray(probability(pd.DataFrame(batch.reshape(-1, k), columns=columns)), dtype=np.float64)
        yield from of_rows.reshape(len(batch), n, background).mean(axis=2)
