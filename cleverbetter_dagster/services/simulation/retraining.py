"""Replaying history: what each way of retraining would have cost, and what its models would have been worth.

Months land one after the other, as they did; a policy fits, updates or keeps its model by what is known at the end of
each, and the model is judged on the rows decided in the month after. Everything stays in memory: nothing is
registered, promoted or written.
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
from cleverbetter_dagster.services.evaluation.scored_table import scored_frame
from cleverbetter_dagster.services.training.update import incremental_train, new_to
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_rows

Policy = Literal["never", "monthly", "incremental", "drift"]

POLICIES: Mapping[Policy, str] = MappingProxyType(
    {
        "never": "fitted once, in the first month",
        "monthly": "fitted anew every month",
        "incremental": "fitted in the first month, then updated with what each month added",
        "drift": "fitted anew when its probabilities have shifted from those it was first judged on",
    }
)

Watch = Callable[[float], None]
"""Told which share of the work is done."""


class ReplaySpec(BaseModel):
    """What is replayed.

    Attributes:
        first, last: as_of months, both included.
        largest_drift: distance of the probabilities (`evaluation.drift`), 0 .. 1, from which `drift` fits anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    first: str
    last: str
    policies: tuple[Policy, ...] = tuple(POLICIES)
    params: dict[str, Any] = {}
    seed: int = 0
    largest_drift: float = Field(LARGE_DRIFT, ge=0)
    dataset: DatasetSpec = DatasetSpec()
    staking: StakingSpec = StakingSpec()


@dataclass(frozen=True)
class Replayed:
    """What became of one policy.

    Attributes:
        fits: full trainings; `updates` incremental ones.
        cpu_seconds: of this process, spent on both.
        scored: every judged row with probability and stake, as `scored_frame` gives it.
    """

    policy: Policy
    fits: int = 0
    updates: int = 0
    cpu_seconds: float = 0.0
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True, eq=False)
class _Standing:
    """A policy's model at the end of a month; `reference` are its probabilities for the test rows of its fit."""

    model: FittedModel
    learned: Fingerprints
    reference: np.ndarray


def landed_rows(settings: Settings) -> pd.DataFrame:
    """Every row of the database that can be right, as one canonical frame. Only reads."""
    return rows_frame(load_rows(settings, resolve_source(settings), None, None, pd.Timestamp.now(tz="UTC")).rows)


def replay(rows: pd.DataFrame, spec: ReplaySpec, threads: int, watch: Watch | None = None) -> list[Replayed]:
    """Replay the landings of `rows` through every policy, month by month.

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
    accounts = {policy: Replayed(policy) for policy in spec.policies}
    standing: dict[Policy, _Standing] = {}
    frames: dict[Policy, list[pd.DataFrame]] = {policy: [] for policy in spec.policies}
    for number, month in enumerate(months):
        landing, judged = _Landing(rows, month, spec, threads), outcomes.decided_in(month.plus(1))
        for policy in spec.policies:
            standing[policy], accounts[policy] = landing.acted(policy, standing.get(policy), accounts[policy])
            said = standing[policy].model.describe(judged.X)
            frames[policy].append(scored_frame(policy, judged, said, spec.staking))
        if watch:
            watch((number + 1) / len(months))
    return [replace(accounts[policy], scored=pd.concat(frames[policy], ignore_index=True)) for policy in spec.policies]


class _Outcomes:
    """What became of all rows, to judge by; no policy sees it."""

    def __init__(self, rows: pd.DataFrame, spec: DatasetSpec) -> None:
        panel = build_panel(rows, None, spec)
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


class _Landing:
    """One month at its end: its examples, and the full training of that month, which policies share and each pay."""

    def __init__(self, rows: pd.DataFrame, month: AsOf, spec: ReplaySpec, threads: int) -> None:
        self.spec, self.threads = spec, threads
        self.panel = build_panel(rows, month.end, spec.dataset)
        self.parts: Partition = split_examples(self.panel, spec.dataset)
        check_enough(self.parts.split.usable_rows, spec.dataset)
        self.month = month

    def acted(self, policy: Policy, standing: _Standing | None, account: Replayed) -> tuple[_Standing, Replayed]:
        """The policy's model after this month, and its account."""
        if standing is None or policy == "monthly" or (policy == "drift" and self._has_drifted(standing)):
            fresh, seconds = self._fit
            return fresh, replace(account, fits=account.fits + 1, cpu_seconds=account.cpu_seconds + seconds)
        if policy == "incremental" and len((landing := new_to(standing.learned, self.parts)).new):
            started = process_time()
            model = incremental_train(standing.model, landing.new, landing.past, self.spec.seed, self.threads)
            seconds = process_time() - started
            learned = standing.learned.with_new(landing.new)
            account = replace(account, updates=account.updates + 1, cpu_seconds=account.cpu_seconds + seconds)
            return replace(standing, model=model, learned=learned), account
        return standing, account

    @cached_property
    def _fit(self) -> tuple[_Standing, float]:
        """The full training of this month and its CPU seconds."""
        family, parts, spec = get_family(self.spec.family), self.parts, self.spec
        started = process_time()
        model = family.fit(parts.train, parts.validation, spec.params, spec.seed, self.threads)
        seconds = process_time() - started
        reference = model.describe(parts.test.X)[PROBABILITY].to_numpy()
        return _Standing(model, Fingerprints.of([parts.train, parts.validation]), reference), seconds

    def _has_drifted(self, standing: _Standing) -> bool:
        """Whether the probabilities of this month's rows have moved from the reference; no label is looked at."""
        newest = self.panel[self.panel[DECISION_TIME] >= self.month.start]
        if newest.empty:
            return False
        new = standing.model.describe(newest)[PROBABILITY].to_numpy()
        return distribution_distance(standing.reference, new) >= self.spec.largest_drift
