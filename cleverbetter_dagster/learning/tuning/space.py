"""The space a study searches: the family's own, with ranges and fixed values a person gave; and where its ends are."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.model import Params
from cleverbetter_dagster.learning.scoring import StudySpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

EDGE_SHARE = 0.02
"""A value within this share of its range (of the logarithms where it is searched so) lies at its end."""


class SpacedTrial:
    """A trial as a family sees it. Fixed values are not searched, and a range can be the spec's instead.

    Optuna's `PartialFixedSampler` fixes values too, but knows no ranges and stores the values as searched ones.

    Args:
        trial: draws what is searched.
        spec: ranges and fixed values.
        tuned_inside: hyperparameters a scorer chooses by itself: the family gets the upper end of their range.
    """

    def __init__(self, trial: "BaseTrial", spec: StudySpec, tuned_inside: frozenset[str]) -> None:
        self.trial, self.spec, self.tuned_inside = trial, spec, tuned_inside
        self.ranges: dict[str, tuple[float, float]] = {}

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> float:
        """As `optuna.trial.BaseTrial.suggest_float`."""
        low, high = self.spec.space.get(name, (low, high))
        fixed = self._not_searched(name, low, high)
        return self.trial.suggest_float(name, low, high, **how) if fixed is None else fixed

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
        """As `optuna.trial.BaseTrial.suggest_int`."""
        low, high = (int(end) for end in self.spec.space.get(name, (low, high)))
        fixed = self._not_searched(name, low, high)
        return self.trial.suggest_int(name, low, high, **how) if fixed is None else fixed

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As `optuna.trial.BaseTrial.suggest_categorical`."""
        if name in self.spec.space:
            raise LearningError(f"{name} is one of {list(choices)}: it has no range. Fix it by params instead.")
        return self.spec.params[name] if name in self.spec.params else self.trial.suggest_categorical(name, choices)

    def _not_searched(self, name: str, low: Any, high: Any) -> Any:
        if name in self.tuned_inside and name not in self.spec.params:
            self.ranges[name] = (low, high)
            return high
        return self.spec.params.get(name)


def suggested(
    family: Family, trial: "BaseTrial", spec: StudySpec, tuned_inside: frozenset[str]
) -> tuple[dict[str, Any], dict[str, tuple[float, float]]]:
    """Every hyperparameter of a trial, and the ranges of those the scorer chooses by itself."""
    spaced = SpacedTrial(trial, spec, tuned_inside)
    drawn = family.suggest(cast("BaseTrial", spaced))
    return {**family.default_params(), **drawn, **spec.params}, spaced.ranges


def searched_space(family: Family, spec: StudySpec, tuned_inside: frozenset[str]) -> dict[str, "BaseDistribution"]:
    """What is searched where every hyperparameter is at its default.

    Raises:
        LearningError: `spec.params` or `spec.space` name what the family does not have or does not search.
    """
    from optuna.trial import FixedTrial

    defaults = family.default_params()
    probe = FixedTrial(defaults)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a default outside a range of `spec.space` is moved into it (`within`)
        _, ranges = suggested(family, probe, spec, tuned_inside)
    _refuse_unknown("params", spec.params, list(defaults))
    _refuse_unknown("space", spec.space, [*probe.distributions, *ranges])
    return probe.distributions


def within(values: Params, space: Mapping[str, "BaseDistribution"]) -> dict[str, Any]:
    """Those of `values` that the space searches, moved to the nearest end where they lie outside."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    inside: dict[str, Any] = {}
    for name, distribution in space.items():
        if name not in values:
            continue
        if isinstance(distribution, FloatDistribution | IntDistribution):
            inside[name] = min(max(values[name], distribution.low), distribution.high)
        elif isinstance(distribution, CategoricalDistribution) and values[name] in distribution.choices:
            inside[name] = values[name]
    return inside


def edges(values: Params, space: Mapping[str, "BaseDistribution"]) -> dict[str, float]:
    """Hyperparameters whose value lies at an end of its range, each with that end."""
    from optuna.distributions import FloatDistribution, IntDistribution

    at_end: dict[str, float] = {}
    for name, distribution in space.items():
        if not isinstance(distribution, FloatDistribution | IntDistribution) or distribution.single():
            continue
        scale = math.log if distribution.log else float
        low, high = scale(distribution.low), scale(distribution.high)
        place = (scale(values[name]) - low) / (high - low)
        if min(place, 1.0 - place) <= EDGE_SHARE:
            at_end[name] = distribution.low if place < 0.5 else distribution.high
    return at_end


def _refuse_unknown(option: str, values: Mapping[str, Any], known: list[str]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise LearningError(f"{option} names {', '.join(unknown)}; what it may name: {', '.join(sorted(known))}.")
