"""Examples as the frames a notebook works with, and back: the index holds the id by which a row is found again."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.features import feature_columns
from cleverbetter_dagster.dataset.labels import LABEL
from cleverbetter_dagster.dataset.schema import ID, market_columns
from cleverbetter_dagster.errors import InvalidInput

REMEDY = "pass the frames that preprocess_data returned, or rows of them, with their index kept"


def frames_of(examples: Examples) -> tuple[pd.DataFrame, pd.Series]:
    """Features, float64[n, features], and labels, int8[n], both indexed by the id of the row."""
    index = pd.Index(examples.ids, name=ID)
    return examples.X.set_axis(index), pd.Series(examples.y, index=index, name=LABEL)


def examples_of(panel: pd.DataFrame, X: pd.DataFrame, y: ArrayLike, name: str) -> Examples:
    """The examples of `X` and `y`: times and returns from `panel`, features and labels from the frames.

    Args:
        panel: the rows the frames were made of.
        X: features by row id; a market feature may be missing, the others are needed.
        y: labels 0 or 1, one per row of `X`; a Series has the index of `X`.
        name: of `X`, for messages.

    Raises:
        InvalidInput: a row is not in `panel` or has no outcome yet, rows are repeated, columns are not those of the
            panel, or the labels do not fit.
    """
    if not isinstance(X, pd.DataFrame):
        raise InvalidInput(f"{name} is a {type(X).__name__}, a pandas DataFrame is needed: {REMEDY}.")
    if not X.index.is_unique:
        raise InvalidInput(
            f"{name} holds the row {X.index[X.index.duplicated()][0]!r} more than once; drop the copies."
        )
    positions = pd.Index(panel[ID]).get_indexer(X.index)
    if (positions < 0).any():
        strangers = X.index[positions < 0]
        raise InvalidInput(
            f"{len(strangers)} of {len(X)} rows of {name} were never preprocessed by this pipeline, such as "
            f"{strangers[0]!r}: {REMEDY}."
        )
    rows = panel.take(positions)
    if rows[LABEL].isna().any():
        row = rows.loc[rows[LABEL].isna(), ID].iloc[0]
        raise InvalidInput(f"The row {row!r} of {name} has no outcome yet, so nothing can be learned from it.")
    _check_columns(feature_columns(panel), X, name)
    replaced = rows.drop(columns=feature_columns(panel)).assign(
        **{column: X[column].to_numpy(dtype=np.float64) for column in X.columns}, **{LABEL: _labels(X, y, name)}
    )
    return Examples(replaced[[column for column in panel.columns if column in replaced.columns]].sort_index())


def _check_columns(known: list[str], X: pd.DataFrame, name: str) -> None:
    absent = sorted(set(known) - set(X.columns) - set(market_columns(known)))
    unknown = sorted(map(str, set(X.columns) - set(known)))
    if absent or unknown:
        lacks = [f"lacks {', '.join(absent)}"] if absent else []
        has = [f"has also {', '.join(unknown)}"] if unknown else []
        raise InvalidInput(
            f"{name} {'; '.join(lacks + has)}: features are those of preprocess_data; only ml_... may be dropped."
        )


def _labels(X: pd.DataFrame, y: ArrayLike, name: str) -> np.ndarray:
    if isinstance(y, pd.Series) and not y.index.equals(X.index):
        raise InvalidInput(f"The labels' index differs from that of {name}: give both the same rows in the same order.")
    labels = np.asarray(y, dtype=np.float64)
    if labels.shape != (len(X),):
        raise InvalidInput(f"{len(X)} rows in {name} but labels of shape {labels.shape}: give one label a row.")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise InvalidInput(f"The labels of {name} hold {labels[~np.isin(labels, (0.0, 1.0))][0]}, must be 0 or 1.")
    return labels
