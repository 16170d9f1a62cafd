"""What a model family is: how it is named, tuned and fitted, and what a fitted model answers.

Here live the two seams every family meets (`Family`, `FittedModel`) and the door through which features reach
a model (`feature_matrix`). No particular model lives here; families are listed in `catalogue.py`.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.schema import MARKET_PREFIX
from cleverbetter_dagster.errors import LearningError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Params = Mapping[str, Any]
"""Flat hyperparameters by name: numbers, texts and booleans only, so that a tracker can log them."""

ParamsModel = TypeVar("ParamsModel", bound=BaseModel)

Report = dict[str, float | int | str]
"""Flat facts about a fit by name, for a tracker."""

PROBABILITY, SCORE, CONFIDENCE = "probability", "score", "confidence"
DECISION_THRESHOLD = 0.5


class FittedModel(abc.ABC):
    """A model that estimates P(the strategy's next window beats the return threshold), row by row.

    A subclass says what it needs (`family`, `feature_names`) and implements `_describe`, `feature_importance`
    and `report`. The rest follows from them. Answers depend on each row alone, never on its neighbours, and a
    model survives pickling bit by bit.
    """

    family: ClassVar[str]
    feature_names: tuple[str, ...]

    @abc.abstractmethod
    def _describe(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of `describe`.

        Args:
            values: float[n >= 1, len(feature_names)]; NaN is missing, nothing is infinite.
        """

    @abc.abstractmethod
    def feature_importance(self) -> pd.Series:
        """Share of each feature in the model's decisions: float >= 0, sums to 1, index `feature_names`."""

    @abc.abstractmethod
    def report(self) -> Report:
        """What the fit decided and saw (weights, row counts, methods), flat."""

    def describe(self, X: pd.DataFrame) -> pd.DataFrame:
        """Everything the model says about each row.

        Args:
            X: feature frame; see `feature_matrix` for columns, order and NaN.

        Returns:
            float64 frame with the index of `X`: `probability`, calibrated, and `score`, raw, both in (0, 1);
            `confidence`, from 0 (the model's parts contradict each other) to 1 (they agree). A family may add
            columns, such as a `stake` in bankroll fractions.

        Raises:
            LearningError: a feature is missing or infinite.
        """
        values = feature_matrix(X, self.feature_names)
        if len(values):
            return pd.DataFrame(self._describe(values), index=X.index)
        return pd.DataFrame(columns=[PROBABILITY, SCORE, CONFIDENCE], index=X.index, dtype=np.float64)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Calibrated probabilities as scikit-learn lays them out: float[n, 2], columns P(0) and P(1)."""
        probability = self.describe(X)[PROBABILITY].to_numpy()
        return np.column_stack([1.0 - probability, probability])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """The likelier class of each row: int8[n], 1 from a probability of 0.5."""
        return (self.describe(X)[PROBABILITY].to_numpy() >= DECISION_THRESHOLD).astype(np.int8)


@runtime_checkable
class Family(Protocol):
    """A way of learning from examples. Stateless: everything a fit needs is an argument."""

    @property
    def name(self) -> str:
        """Key in the catalogue, prefix of the assets and name in the registry; an identifier."""

    @property
    def title(self) -> str:
        """Name a person reads."""

    @property
    def description(self) -> str:
        """One or two sentences on how the family learns."""

    def default_params(self) -> dict[str, Any]:
        """Every hyperparameter of the family at its default."""

    def suggest(self, trial: "BaseTrial") -> dict[str, Any]:
        """Draw the hyperparameters worth tuning: valid in `fit`, with the defaults in range."""

    def fit(self, train: Examples, validation: Examples, params: Params, seed: int, threads: int) -> FittedModel:
        """Learn from `train` and the later `validation`; what each is used for is the family's to say.

        Args:
            train: examples whose labels were known when `validation` begins.
            validation: later examples, for stopping early, calibrating and the like; may be learned from.
            params: hyperparameters; what is left out takes its default.
            seed: the only source of randomness: equal arguments give equal models, bit by bit.
            threads: threads the fit may use, >= 1.

        Raises:
            LearningError: a parameter is unknown or out of range; or the parts are empty, not in order of
                time (`require_order`), or of one class.
        """


def require_order(train: Examples, validation: Examples) -> None:
    """Refuse parts from which a family would learn what it could not have known.

    Raises:
        LearningError: a part is empty, or a label of `train` became known after `validation` began.
    """
    if not len(train) or not len(validation):
        raise LearningError(
            f"{len(train)} rows to train on and {len(validation)} to validate on: neither may be empty. "
            "Load more history, or change the split's fractions."
        )
    known, start = train.label_time.max(), validation.decision_time.min()
    if known > start:
        raise LearningError(
            f"A label of train was known at {known}, after validation began at {start}: "
            "purge such rows (dataset.splits does)."
        )


def checked_params(model: type[ParamsModel], params: Params, family: str) -> ParamsModel:
    """A family's hyperparameters, validated.

    Raises:
        LearningError: a parameter is unknown or out of range; the message names it, its value and the known ones.
    """
    try:
        return model.model_validate(dict(params))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in error.errors()]
        known = ", ".join(model.model_fields)
        raise LearningError(f"Cannot use the {family}'s parameters: {'; '.join(lines)}. Known: {known}.") from None


def feature_matrix(X: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The columns `names` of `X`, in that order, as C-ordered float64[n, len(names)].

    Further columns are ignored. NaN means missing and is passed on. A market feature (`ml_...`) that `X`
    lacks is missing in every row: upstream services do not compute all of them every time.

    Raises:
        LearningError: another column is absent, or a value is infinite; the message names the columns.
    """
    absent = [name for name in names if name not in X.columns and not name.startswith(MARKET_PREFIX)]
    if absent:
        raise LearningError(
            f"The rows lack {len(absent)} of {len(names)} features: {', '.join(absent)}. "
            "Build them with the code that built the training rows (dataset.panel.build_panel)."
        )
    values = np.ascontiguousarray(X.reindex(columns=list(names)).to_numpy(dtype=np.float64))
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise LearningError(
            f"Infinite values in {', '.join(np.array(names)[infinite])}: "
            "a feature must be finite, or NaN where it is unknown."
        )
    return values
