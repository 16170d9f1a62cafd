"""Simulates ways of retraining on past months: what each costs, and how good its models are.

Each way fits, updates or keeps its model with what is known at the end of a month; the model is then judged on the rows
decided in the month after. All of it stays in memory: nothing is registered, promoted or written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import process_time
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples, check_enough
from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.labels import DECISION_TIME
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.schema import rows_frame
from cleverbetter_dagster.dataset.selection import is_usable
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition, split_examples
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.drift import LARGE_DRIFT, distribution_distance
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.model import PROBABILITY, FittedModel
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.scored_table import ScoredPart, scored_part, staked
from cleverbetter_dagster.services.training.update import NewExamples, new_examples
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.source.loader import load_all_rows

Way = Literal["never", "monthly", "incremental", "drift"]

WAYS: Mapping[Way, str] = MappingProxyType(
    {
        "never": "fitted once, in the first month",
        "monthly": "fitted anew every month",
        "incremental": "fitted in the first month, then updated with what each month added",
        "drift": "fitted anew when its probabilities have moved away from those of its test rows",
    }
)
"""Ways of retraining, each with what happens to its model."""

Progress = Callable[[float], None]
"""Called with the share of the work that is done."""


class RetrainingSpec(BaseModel):
    """What is simulated.

    Attributes:
        first, last: as_of months, both included.
        largest_drift: distance of the probabilities (`evaluation.drift`), 0 .. 1, from which `drift` fits anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    first: str
    last: str
    ways: tuple[Way, ...] = tuple(WAYS)
    params: dict[str, Any] = {}
    seed: int = Field(0, ge=0, le=2**32 - 1)
    largest_drift: float = Field(LARGE_DRIFT, ge=0, le=1)
    dataset: DatasetSpec = DatasetSpec()
    staking: StakingSpec = StakingSpec()


@dataclass(frozen=True)
class SimulatedWay:
    """The result of one way of retraining.

    Attributes:
        fits: full trainings; `updates` incremental ones.
        cpu_seconds: of this process, spent on both.
        scored: every judged row with probability and stake, as `staked` returns it: one bankroll throughout.
    """

    way: Way
    fits: int = 0
    updates: int = 0
    cpu_seconds: float = 0.0
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True, eq=False)
class _CurrentModel:
    """The model of one way at the end of a month; `reference` are its probabilities on the test rows of its fit."""

    model: FittedModel
    learned: Fingerprints
    reference: np.ndarray


def database_rows(settings: Settings) -> pd.DataFrame:
    """Every plausible row of the database, as one canonical frame. Only reads."""
    return rows_frame(load_all_rows(settings, pd.Timestamp.now(tz="UTC")))


def simulate(
    rows: pd.DataFrame, spec: RetrainingSpec, threads: int, progress: Progress | None = None
) -> list[SimulatedWay]:
    """Simulate every way of `spec` on `rows`, month by month.

    Raises:
        DataError: no outcome is known of rows decided after one of the months, or the last comes before the first.
        NotEnoughRows: the first month has too few examples.
        UnknownFamily: there is no such family.
    """
    get_family(spec.family)
    months, outcomes = AsOf.range(AsOf.parse(spec.first), AsOf.parse(spec.last)), _Outcomes(rows, spec.dataset)
    if not months:
        raise DataError(f"There are no months from {spec.first} to {spec.last}: name the earlier one first.")
    outcomes.require(months)
    results = {way: SimulatedWay(way) for way in spec.ways}
    current: dict[Way, _CurrentModel] = {}
    parts: dict[Way, list[ScoredPart]] = {way: [] for way in spec.ways}
    for number, month in enumerate(months):
        step, judged = _MonthStep(rows, month, spec, threads), outcomes.decided_in(month.plus(1))
        for way in spec.ways:
            current[way], results[way] = step.retrain(results[way], current.get(way))
            scores = current[way].model.predict_frame(judged.X)
            parts[way].append(scored_part(way, judged.frame, scores, spec.staking, returns=outcomes.returns))
        if progress:
            progress((number + 1) / len(months))
    return [replace(results[way], scored=staked(parts[way]).reset_index(drop=True)) for way in spec.ways]


class _Outcomes:
    """The outcomes of all rows, only used to judge."""

    def __init__(self, rows: pd.DataFrame, spec: DatasetSpec) -> None:
        panel = build_panel(rows, None, spec)
        self.returns = PastReturns.of(panel)
        self._examples = panel[is_usable(panel, spec.min_composite_score)]

    def decided_in(self, month: AsOf) -> Examples:
        decided = self._examples[DECISION_TIME]
        return Examples(self._examples[(decided >= month.start) & (decided < month.end)])

    def require(self, months: Sequence[AsOf]) -> None:
        """Refuse months whose following month has no outcomes."""
        for month in months:
            if not len(self.decided_in(month.plus(1))):
                times = self._examples[DECISION_TIME]
                known = f"{AsOf.of(times.min())} to {AsOf.of(times.max())}" if len(times) else "no month"
                raise DataError(
                    f"Models as of {month} are judged on rows decided in {month.plus(1)}, and no outcome of such rows "
                    f"is known. Outcomes are known of rows decided in {known}: choose months one earlier than these."
                )


class _MonthStep:
    """The end of one month: its examples, and its full training, which the ways share and each are billed for."""

    def __init__(self, rows: pd.DataFrame, month: AsOf, spec: RetrainingSpec, threads: int) -> None:
        self.spec, self.threads = spec, threads
        self.panel = build_panel(rows, month.end, spec.dataset)
        self.parts: Partition = split_examples(self.panel, spec.dataset)
        check_enough(self.parts.split.usable_rows, spec.dataset)
        self.month = month

    def retrain(self, result: SimulatedWay, current: _CurrentModel | None) -> tuple[_CurrentModel, SimulatedWay]:
        """The model of a way after this month, and its result so far."""
        way = result.way
        if current is None or way == "monthly" or (way == "drift" and self._has_drifted(current)):
            fresh, seconds = self._fit
            return fresh, replace(result, fits=result.fits + 1, cpu_seconds=result.cpu_seconds + seconds)
        if way == "incremental" and len((examples := self._new(current)).new):
            started = process_time()
            family, seed = get_family(self.spec.family), self.spec.seed
            model = family.update(current.model, examples.new, examples.past, seed, self.threads)
            seconds = process_time() - started
            learned = current.learned.with_new(examples.new)
            result = replace(result, updates=result.updates + 1, cpu_seconds=result.cpu_seconds + seconds)
            return replace(current, model=model, learned=learned), result
        return current, result

    def _new(self, current: _CurrentModel) -> NewExamples:
        return new_examples(current.learned, self.parts.past)

    @cached_property
    def _fit(self) -> tuple[_CurrentModel, float]:
        """The full training of this month and its CPU seconds."""
        family, parts, spec = get_family(self.spec.family), self.parts, self.spec
        started = process_time()
        model = family.fit(parts.train, parts.validation, spec.params, spec.seed, self.threads)
        seconds = process_time() - started
        reference = model.predict_frame(parts.test.X)[PROBABILITY].to_numpy()
        return _CurrentModel(model, Fingerprints.of(parts.past), reference), seconds

    def _has_drifted(self, current: _CurrentModel) -> bool:
        """Whether the probabilities of this month's rows have moved from the reference. Reads no label."""
        newest = self.panel[self.panel[DECISION_TIME] >= self.month.start]
        if newest.empty:
            return False
        new = current.model.predict_frame(newest)[PROBABILITY].to_numpy()
        return distribution_distance(current.reference, new) >= self.spec.largest_drift
