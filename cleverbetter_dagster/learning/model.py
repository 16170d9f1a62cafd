"""What a fitted model answers, and the one way features reach it (`feature_matrix`). No particular model lives here."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.quality.categories import indicators
from cleverbetter_dagster.dataset.schema import MARKET_PREFIX
from cleverbetter_dagster.errors import LearningError

Params = Mapping[str, Any]
"""Flat hyperparameters by name: numbers, texts and booleans only, so that a tracker can log them."""

Report = dict[str, float | int | str]
"""Flat facts about a fit by name, for a tracker."""

PROBABILITY, SCORE, CONFIDENCE = "probability", "score", "confidence"
KELLY_SHARE = "kelly_share"
"""Share of the full Kelly stake, 0..1, by a model that chooses it; of others it is run configuration."""
DECISION_THRESHOLD = 0.5

LARGEST_SPREAD = 0.5
"""Standard deviation of probabilities of which half are 0 and half are 1: none is larger."""


class FittedModel(abc.ABC):
    """A model that estimates P(the strategy's next window beats the return threshold), row by row.

    A subclass sets the attributes and implements `_predict_frame`, `feature_importance` and `report`. A prediction
    depends on its row alone, never on the rows beside it, and storing the model changes no bit of it.

    Attributes:
        family: name of its family.
        feature_names: the features it was fitted on, in order.
        known_until: latest label time, UTC, of the rows it was fitted on or updated with: it knows nothing later.
    """

    family: ClassVar[str]
    feature_names: tuple[str, ...]
    known_until: pd.Timestamp

    @abc.abstractmethod
    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of `predict_frame`.

        Args:
            values: float[n >= 1, len(feature_names)]; NaN is missing, nothing is infinite.
        """

    @abc.abstractmethod
    def feature_importance(self) -> pd.Series:
        """Share of each feature in the model's decisions: float >= 0, sums to 1, index `feature_names`."""

    @abc.abstractmethod
    def report(self) -> Report:
        """What the fit chose and used (weights, row counts, methods), flat."""

    def predict_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Every output of the model for each row.

        Args:
            X: feature frame; see `feature_matrix` for columns, order and NaN.

        Returns:
            float64 frame with the index of `X`: `probability`, calibrated, and `score`, raw, both in (0, 1);
            `confidence`, from 0 (the model's parts contradict each other) to 1 (they agree). A model that stakes by
            itself adds `kelly_share`.

        Raises:
            LearningError: a feature is missing or infinite.
        """
        values = feature_matrix(X, self.feature_names)
        if len(values):
            return pd.DataFrame(self._predict_frame(values), index=X.index)
        return pd.DataFrame(columns=[PROBABILITY, SCORE, CONFIDENCE], index=X.index, dtype=np.float64)

    def agent_shares(self, X: pd.DataFrame) -> pd.DataFrame | None:  # noqa: ARG002 - most models have none
        """`kelly_share` of every trained agent, one column a seed; None for a model without agents.

        A model that stakes by itself is judged over all its seeds, not by the one it chose.
        """
        return None

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Calibrated probabilities as scikit-learn lays them out: float[n, 2], columns P(0) and P(1)."""
        probability = self.predict_frame(X)[PROBABILITY].to_numpy()
        return np.column_stack([1.0 - probability, probability])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """The likelier class of each row: int8[n], 1 from a probability of 0.5."""
        return (self.predict_frame(X)[PROBABILITY].to_numpy() >= DECISION_THRESHOLD).astype(np.int8)


def prediction_columns(probability: np.ndarray, score: np.ndarray, opinions: np.ndarray) -> dict[str, np.ndarray]:
    """The columns that every model's `predict_frame` has.

    Args:
        probability: calibrated, float[n].
        score: raw, float[n].
        opinions: probabilities of the model's parts, float[n, parts]; the less they differ, the more confidence.
    """
    return {PROBABILITY: probability, SCORE: score, CONFIDENCE: 1.0 - opinions.std(axis=1) / LARGEST_SPREAD}


def feature_matrix(X: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The columns `names` of `X`, in that order, as C-ordered float64[n, len(names)].

    Further columns are ignored. NaN means missing and is passed on. A market feature (`ml_...`) that `X`
    lacks is missing in every row: upstream services do not compute all of them every time. If `X` has the texts of a
    category, its indicators are those of `names`, whatever indicators `X` has.

    Raises:
        LearningError: another column is absent, or a value is infinite; the message names the columns.
    """
    absent = [name for name in names if name not in X.columns and not name.startswith(MARKET_PREFIX)]
    if absent:
        raise LearningError(
            f"The rows lack {len(absent)} of {len(names)} features: {', '.join(absent)}. "
            "Build them with the code that built the training rows (dataset.panel.build_panel)."
        )
    own = indicators(X, names)
    columns = X.drop(columns=[name for name in own if name in X.columns]).assign(**own) if own else X
    values = np.ascontiguousarray(columns.reindex(columns=list(names)).to_numpy(dtype=np.float64))
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise LearningError(
            f"Infinite values in {', '.join(np.array(names)[infinite])}: "
            "a feature must be finite, or NaN where it is unknown."
        )
    return values
