"""What a model family is: how it is named, tuned, fitted and updated, and what a fitted model answers.

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
KELLY_SHARE = "kelly_share"
"""Share of the full Kelly stake, 0..1, by a model that chooses it; of others it is run configuration."""
DECISION_THRESHOLD = 0.5

LARGEST_SPREAD = 0.5
"""Standard deviation of probabilities of which half are 0 and half are 1: none is larger."""


class FittedModel(abc.ABC):
    """A model that estimates P(the strategy's next window beats the return threshold), row by row.

    A subclass says what it needs (`family`, `feature_names`) and knows (`known_until`), and implements `_describe`,
    `feature_importance` and `report`. The rest follows from them. Answers depend on each row alone, never on its
    neighbours, and a model survives pickling bit by bit.

    Attributes:
        known_until: latest label time, UTC, of the rows it was fitted on or updated with: it knows nothing later.
    """

    family: ClassVar[str]
    feature_names: tuple[str, ...]
    known_until: pd.Timestamp

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
            `confidence`, from 0 (the model's parts contradict each other) to 1 (they agree). A family that stakes
            by itself adds `kelly_share`.

        Raises:
            LearningError: a feature is missing or infinite.
        """
        values = feature_matrix(X, self.feature_names)
        if len(values):
            return pd.DataFrame(self._describe(values), index=X.index)
        return pd.DataFrame(columns=[PROBABILITY, SCORE, CONFIDENCE], index=X.index, dtype=np.float64)

    def agent_shares(self, X: pd.DataFrame) -> pd.DataFrame | None:  # noqa: ARG002 - most models have none
        """`kelly_share` by each of the agents that were trained, one column a seed; None where there are none.

        A model that stakes by itself is judged over all its seeds, not by the one it chose.
        """
        return None

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Calibrated probabilities as scikit-learn lays them out: float[n, 2], columns P(0) and P(1)."""
        probability = self.describe(X)[PROBABILITY].to_numpy()
        return np.column_stack([1.0 - probability, probability])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """The likelier class of each row: int8[n], 1 from a probability of 0.5."""
        return (self.describe(X)[PROBABILITY].to_numpy() >= DECISION_THRESHOLD).astype(np.int8)


def answer(probability: np.ndarray, score: np.ndarray, opinions: np.ndarray) -> dict[str, np.ndarray]:
    """The columns every model answers with.

    Args:
        probability: calibrated, float[n].
        score: raw, float[n].
        opinions: probabilities of the model's parts, float[n, parts]; the less they differ, the more confidence.
    """
    return {PROBABILITY: probability, SCORE: score, CONFIDENCE: 1.0 - opinions.std(axis=1) / LARGEST_SPREAD}


Fitted = TypeVar("Fitted", bound=FittedModel)


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

    @property
    def study_defaults(self) -> Params:
        """Fields of `tuning_spec.StudySpec` whose default is another for this family; mostly none."""

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

    def update(self, model: FittedModel, new: Examples, past: Examples, seed: int, threads: int) -> FittedModel:
        """Take in what is new, at a small part of what fitting costs; hyperparameters and features stay.

        Whatever judges (a meta-learner, a calibrator) is refreshed only by rows decided when `model` knew all it
        knows (`unseen`), as `model` scored them: no row is judged by what has learned from it. Earlier rows of
        `new`, which arrived late, are learned from and judge nothing.

        Args:
            model: of this family; stays as it is.
            new: labelled rows `model` has not learned from, in any number and of any class.
            past: labelled rows it has learned from, to rehearse; may be empty.
            seed: as in `fit`.
            threads: as in `fit`.

        Raises:
            LearningError: as `require_update`.
        """


def require_update(kind: type[Fitted], model: FittedModel, new: Examples, past: Examples) -> Fitted:
    """The model to be updated, as one of its family's kind; an update that could not mean anything is refused.

    Raises:
        LearningError: the model is of another family or of other features than the new rows; there are no new
            rows; or a row is both new and past.
    """
    if not isinstance(model, kind):
        raise LearningError(
            f"A model of the family {model.family!r} cannot be updated by {kind.family!r}: use its own family, or "
            "fit anew."
        )
    if not len(new):
        raise LearningError("0 new examples to learn from: pass at least 1, or keep the model as it is.")
    given, known = set(new.X.columns), set(model.feature_names)
    if given != known:
        raise LearningError(
            f"The model learned from {len(known)} features, the new rows have {len(given)}; only the rows have "
            f"{_listed(given - known)}, only the model has {_listed(known - given)}. Train in full: a feature can "
            "be neither added to a model nor taken from it."
        )
    both = set(new.ids) & set(past.ids)
    if both:
        raise LearningError(
            f"{len(both)} rows are both new and past, such as {min(both)}: they would count twice. "
            "Pass as new only what the model has not learned from."
        )
    return model


def unseen(model: FittedModel, new: Examples) -> np.ndarray:
    """Positions of the rows decided no earlier than the model's last label became known: they may judge it."""
    return np.flatnonzero(new.decision_time >= model.known_until)


def latest_label(*parts: Examples) -> pd.Timestamp:
    """When the last label of all parts together became known."""
    return max(part.label_time.max() for part in parts if len(part))


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


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


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
