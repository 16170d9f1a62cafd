"""Results too good to be true: on rows of betting strategies, near-perfect ranking is a leak.

The bounds are far above what leak-free rows give (about 0.72 for a single feature, 0.76 for a model) and far below
what a feature that knows the outcome gives.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cleverbetter_dagster.evaluation.checks import CheckOutcome

HIGHEST_FEATURE_AUC = 0.90
HIGHEST_MODEL_AUC = 0.95
SHOWN_FEATURES = 5


def feature_aucs(X: pd.DataFrame, label: ArrayLike) -> pd.Series:
    """How well each feature alone ranks the labels, in either direction: 0.5 (not at all) .. 1 (perfectly).

    Args:
        X: features, shape (n, k); a missing value ranks below all others, because a missing value may leak too.
        label: 0 or 1, shape (n,).

    Returns:
        AUC by feature, highest first; 0.5 for all if all labels are equal.

    >>> feature_aucs(pd.DataFrame({"leak": [3.0, 2.0, 1.0], "constant": [0.0, 0.0, 0.0]}), [0, 0, 1]).tolist()
    [1.0, 0.5]
    """
    positive = np.asarray(label) == 1
    pairs = positive.sum() * (~positive).sum()
    if not pairs:
        return pd.Series(0.5, index=X.columns)
    ranks = X.rank(method="average", na_option="top")
    auc = (ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / pairs
    return auc.clip(lower=1.0 - auc).sort_values(ascending=False, kind="stable")


def strongest_feature(X: pd.DataFrame, label: ArrayLike) -> CheckOutcome:
    """Whether no single feature ranks the labels better than `HIGHEST_FEATURE_AUC`."""
    auc = feature_aucs(X, label)
    best, highest = str(auc.index[0]), float(auc.iloc[0])
    return CheckOutcome(
        passed=highest <= HIGHEST_FEATURE_AUC,
        message=f"The strongest single feature, {best}, has an AUC of {highest:.3f}; at most {HIGHEST_FEATURE_AUC} is"
        " believable.",
        facts={"highest_auc": highest, "bound": HIGHEST_FEATURE_AUC}
        | {f"auc of {name}": float(value) for name, value in auc.head(SHOWN_FEATURES).items()},
    )


def believable_auc(auc: float | None) -> CheckOutcome:
    """Whether a model's AUC on its test rows can be honest; an undefined AUC can."""
    if auc is None:
        return CheckOutcome(passed=True, message="All test labels are equal: there is no AUC to doubt.")
    return CheckOutcome(
        passed=auc <= HIGHEST_MODEL_AUC,
        message=f"The AUC on the test rows is {auc:.3f}; at most {HIGHEST_MODEL_AUC} is believable.",
        facts={"auc": auc, "bound": HIGHEST_MODEL_AUC},
    )
