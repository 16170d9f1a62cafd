"""The rows a model is judged on, as the model scored them: the input of everything in this room."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.open_stakes import Windows
from cleverbetter_dagster.betting.performance import finite_vector
from cleverbetter_dagster.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Scored rows in the order of the examples. All fields have shape (n,), n >= 1, and no NaN.

    Args:
        decision_time: when each row was decided, UTC.
        label: 1 if the next window's return beat the threshold, else 0.
        next_roi: return of the next window, a fraction of the capital given to it.
        probability: calibrated P(label = 1), 0..1.
        stake: fraction of the bankroll given to the strategy at its decision, >= 0. By default 0.
        windows: what the stakes are open for. By default every window lasts until the next decision time.

    Raises:
        InvalidInput: a length differs, a value is not finite or out of bounds; the message names it.
    """

    decision_time: pd.DatetimeIndex
    label: FloatArray
    next_roi: FloatArray
    probability: FloatArray
    stake: FloatArray = field(default_factory=lambda: np.empty(0))
    windows: Windows = field(default_factory=lambda: Windows.consecutive([]))

    def __post_init__(self) -> None:
        times = utc_times(self.decision_time)
        object.__setattr__(self, "decision_time", times)
        if not len(times):
            raise InvalidInput("No rows to judge: the test part is empty.")
        if times.hasnans:
            raise InvalidInput("decision_time has a missing value; give every scored row its decision time.")
        if len(np.asarray(self.stake)) == 0:
            object.__setattr__(self, "stake", np.zeros(len(times)))
        if len(self.windows) == 0:
            object.__setattr__(self, "windows", Windows.consecutive(times.tz_localize(None)))
        if len(self.windows) != len(times):
            raise InvalidInput(f"{len(times)} decision times but {len(self.windows)} windows: give one per row.")
        for name, low, high in _BOUNDS:
            object.__setattr__(self, name, _checked(getattr(self, name), name, len(times), (low, high)))
        if not np.isin(self.label, (0.0, 1.0)).all():
            raise InvalidInput("label holds values other than 0 and 1; leave unlabelled rows out.")

    def __len__(self) -> int:
        return len(self.decision_time)

    def same_rows_as(self, other: "ScoredRows") -> bool:
        """Whether both models were judged on the same rows in the same order, so that they can be paired."""
        return (
            len(self) == len(other)
            and self.decision_time.equals(other.decision_time)
            and np.array_equal(self.label, other.label)
            and np.array_equal(self.next_roi, other.next_roi)
        )


def utc_times(values: object) -> pd.DatetimeIndex:
    """Times as an index in UTC; a time without a zone counts as UTC. Accepts a Series, index, array or list."""
    if isinstance(values, pd.DatetimeIndex) and values.tz is not None:
        return values.tz_convert("UTC")  # `to_datetime` looks at every value
    return pd.DatetimeIndex(pd.to_datetime(values, utc=True))  # type: ignore[call-overload]


_BOUNDS = (("label", 0.0, 1.0), ("next_roi", -np.inf, np.inf), ("probability", 0.0, 1.0), ("stake", 0.0, np.inf))


def _checked(values: object, name: str, length: int, bounds: tuple[float, float]) -> FloatArray:
    vector = finite_vector(np.asarray(values), name)
    if len(vector) != length:
        raise InvalidInput(f"{length} decision times but {len(vector)} values of {name}: give one per row.")
    wrong = np.flatnonzero((vector < bounds[0]) | (vector > bounds[1]))
    if len(wrong):
        raise InvalidInput(f"{name}[{wrong[0]}] is {vector[wrong[0]]}, must be within {bounds[0]:g}..{bounds[1]:g}.")
    return vector
