"""The space a study searches: a family's own, with ranges and fixed values a person gave; and where its ends are."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.family import Family, Params
from cleverbetter_dagster.learning.tuning.spec import StudySpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial, Trial

EDGE_SHARE = 0.02
"""A value within this share of its range (of the logarithms where it is searched so) lies at its end."""


class SpacedTrial:
    """A trial as a family sees it: fixed values are not searched, ranges may be another's, some are settled later.

    Args:
        trial: the trial asked for what is searched.
        spec: ranges and fixed values.
        settles: hyperparameters a scorer chooses by itself: the family gets the upper end of their range.
    """

    def __init__(self, trial: "BaseTrial", spec: StudySpec, settles: frozenset[str]) -> None:
        self.trial, self.spec, self.settles = trial, spec, settles
        self.ranges: dict[str, tuple[float, float]] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """As `optuna.trial.BaseTrial.suggest_float`."""
        low, high = self.spec.space.get(name, (low, high))
        if (given := self._given(name, low, high)) is not None:
            return given
        return self.trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """As `optuna.trial.BaseTrial.suggest_int`."""
        low, high = (int(end) for end in self.spec.space.get(name, (low, high)))
        if (given := self._given(name, low, high)) is not None:
            return given
        return self.trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As `optuna.trial.BaseTrial.suggest_categorical`."""
        if name in self.spec.space:
            raise LearningError(f"{name} is one of {list(choices)}: it has no range. Fix it by params instead.")
        return self.spec.params[name] if name in self.spec.params else self.trial.suggest_categorical(name, choices)

    def _given(self, name: str, low: Any, high: Any) -> Any:
        if name in self.spec.params:
            return self.spec.params[name]
        if name in self.settles:
            self.ranges[name] = (low, high)
            return high
        return None


class DefaultsTrial:
    """A trial that answers with given values and notes the ranges it was asked for."""

    def __init__(self, values: Params) -> None:
        self.values = values
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> float:
        """The value of `name`; its range is noted."""
        from optuna.distributions import FloatDistribution

        return self._noted(name, FloatDistribution(low, high, **how))

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
        """The value of `name`; its range is noted."""
        from optuna.distributions import IntDistribution

        return self._noted(name, IntDistribution(low, high, **how))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The value of `name`; its choices are noted."""
        from optuna.distributions import CategoricalDistribution

        return self._noted(name, CategoricalDistribution(choices))

    def _noted(self, name: str, distribution: "BaseDistribution") -> Any:
        self.distributions[name] = distribution
        return self.values[name]


def suggested(
    family: Family, trial: "Trial | DefaultsTrial", spec: StudySpec, settles: frozenset[str]
) -> tuple[dict[str, Any], dict[str, tuple[float, float]]]:
    """Every hyperparameter of a trial, and the ranges of those the scorer settles."""
    spaced = SpacedTrial(cast("BaseTrial", trial), spec, settles)
    drawn = family.suggest(cast("BaseTrial", spaced))
    return {**family.default_params(), **drawn, **spec.params}, spaced.ranges


def searched_space(family: Family, spec: StudySpec, settles: frozenset[str]) -> dict[str, "BaseDistribution"]:
    """What is searched where every hyperparameter is at its default.

    Raises:
        LearningError: `spec.params` or `spec.space` name what the family does not have or does not search.
    """
    defaults = family.default_params()
    probe = DefaultsTrial(defaults)
    _, ranges = suggested(family, probe, spec, settles)
    _refuse_unknown("params", spec.params, list(defaults))
    _refuse_unknown("space", spec.space, [*probe.distributions, *ranges])
    return probe.distributions


def within(values: Params, space: Mapping[str, "BaseDistribution"]) -> dict[str, Any]:
    """Those of `values` that the space searches, moved to the nearest end where they lie outside."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for name, distribution in space.items():
        if name not in values:
            continue
        if isinstance(distribution, FloatDistribution | IntDistribution):
            found[name] = min(max(values[name], distribution.low), distribution.high)
        elif isinstance(distribution, CategoricalDistribution) and values[name] in distribution.choices:
            found[name] = values[name]
    return found


def edges(values: Params, space: Mapping[str, "BaseDistribution"]) -> dict[str, float]:
    """Hyperparameters whose value lies at an end of its range, each with that end."""
    from optuna.distributions import FloatDistribution, IntDistribution

    found: dict[str, float] = {}
    for name, distribution in space.items():
        if not isinstance(distribution, FloatDistribution | IntDistribution) or distribution.single():
            continue
        place = _place(values[name], distribution)
        if min(place, 1.0 - place) <= EDGE_SHARE:
            found[name] = distribution.low if place < 0.5 else distribution.high
    return found


def _place(value: float, distribution: Any) -> float:
    """Where a value lies in its range, 0 to 1."""
    scale = math.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return (scale(value) - low) / (high - low)


def _refuse_unknown(what: str, given: Mapping[str, Any], known: list[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise LearningError(f"{what} names {', '.join(unknown)}; what it may name: {', '.join(sorted(known))}.")
