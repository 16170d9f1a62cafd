"""What each feature adds to a probability: Shapley values, for any model that can be asked for probabilities."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.segments import FloatArray

ROWS, BACKGROUND = 100, 12
"""Rows explained, and rows that stand for "feature unknown": a row costs 2 x features x background predictions."""


def shapley_values(
    probability: Callable[[pd.DataFrame], FloatArray],
    background: pd.DataFrame,
    rows: pd.DataFrame,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shapley values of a sample of rows, estimated over permutations run both ways (antithetic).

    They add up: a row's values sum to its probability minus the mean probability of the background sample. Trees,
    networks and stacks of both are treated alike, since only probabilities are asked for. Source: Lundberg and Lee
    (2017), "A Unified Approach to Interpreting Model Predictions"; package `shap`, `PermutationExplainer`.

    Args:
        probability: from a frame of features, shape (m, k), to probabilities, shape (m,).
        background: rows the model knows; a sample of `BACKGROUND` of them is drawn.
        rows: to be explained; a sample of at most `ROWS` of them is drawn.
        seed: of both samples and of the permutations.

    Returns:
        The values, in probability, and the features of the sampled rows: both of shape (at most ROWS, k).
    """
    import shap  # imports numba and pyplot, and compiles at first use, which takes seconds

    known = background.sample(min(BACKGROUND, len(background)), random_state=seed)
    asked = rows.sample(min(ROWS, len(rows)), random_state=seed).sort_index()
    columns = list(rows.columns)

    def predict(values: np.ndarray) -> FloatArray:
        return probability(pd.DataFrame(values, columns=columns))

    masker = shap.maskers.Independent(known.to_numpy(dtype=np.float64), max_samples=len(known))
    explainer = shap.PermutationExplainer(predict, masker, seed=seed)
    explained = explainer(asked.to_numpy(dtype=np.float64), max_evals=2 * len(columns) + 1, silent=True)
    return pd.DataFrame(explained.values, columns=columns, index=asked.index), asked
