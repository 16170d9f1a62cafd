"""Stakes from the scores of a model, for test rows and live strategies alike; and whether an agent's stakes pay off."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.betting.covariance import Correlation, shrunk_correlation
from cleverbetter_dagster.betting.exposure import Exposure
from cleverbetter_dagster.betting.growth_optimal import allocate_jointly
from cleverbetter_dagster.betting.open_stakes import replay
from cleverbetter_dagster.betting.staking import (
    StakingSpec,
    allocate,
    equal_stakes,
    kelly_fraction,
    return_moments,
)
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.labels import DECISION_TIME, NEXT_ROI, windows_of
from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.staking_comparison import (
    ComparisonSpec,
    StakedRows,
    StakingComparison,
    compare_staking,
    rule_stakes,
)
from cleverbetter_dagster.learning.model import KELLY_SHARE, PROBABILITY
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns

TOTAL_TOLERANCE = 1e-6
"""Stakes whose sum is closer than this share to its bound are held by it: a solver does not meet it to the last bit."""

AGENT_STAKE = "agent_stake "
"""Prefix of the columns of a scored table that hold the stakes of an agent, one column per seed."""


@dataclass(frozen=True, eq=False)
class Sizing:
    """How n rows are staked, from the scores of a model.

    Attributes:
        mean, variance: of the next return of each row, shape (n,); a row whose mean is NaN gets no stake.
        staking: the bounds.
        share: share of the full Kelly stake of each row, for a model that chooses it; for others it is
            `staking.kelly_fraction`.
        equal: whether every row with a mean gets the same stake.
        together: which returns move together; by default they are taken to be independent.
    """

    mean: FloatArray
    variance: FloatArray
    staking: StakingSpec
    share: FloatArray | None = None
    equal: bool = False
    together: "Together | None" = None

    def size(self, rows: IntArray, open_fraction: float = 0.0) -> FloatArray:
        """Stakes of the rows at these positions, decided together, while so much of the bankroll is open."""
        mean, variance = self.mean[rows], self.variance[rows]
        if self.equal:
            stake, known = np.zeros(len(rows)), np.isfinite(mean)
            stake[known] = equal_stakes(int(known.sum()), self.staking, open_fraction)
            return stake
        if self.share is not None:
            return allocate(mean, variance, self.staking, self.share[rows], open_fraction)
        edge = rows[(mean > 0) & (variance > 0)]
        correlation = self.correlation(edge)
        if correlation is None:
            return allocate(mean, variance, self.staking, open_fraction=open_fraction)
        stake = np.zeros(len(self.mean))
        stake[edge] = allocate_jointly(self.mean[edge], self.variance[edge], correlation, self.staking, open_fraction)
        return stake[rows]

    def steps(self, rows: IntArray, stake: FloatArray, open_fraction: float = 0.0) -> "StakeSteps":
        """How the stakes that `size` gave these rows came about, bound by bound."""
        kelly = kelly_fraction(self.mean[rows], self.variance[rows])
        share = 1.0 if self.share is None else self.share[rows]
        part, cap = self.staking.kelly_fraction * kelly, self.staking.max_stake_fraction
        together = stake
        if stake.sum() >= (1.0 - TOTAL_TOLERANCE) * self.staking.left_over(open_fraction):
            # The copy is not validated, so the sum may exceed 1: it has no bound but those on the single stakes.
            unbounded = self.staking.model_copy(update={"max_total_fraction": max(len(rows), 1) * cap})
            together = replace(self, staking=unbounded).size(rows)
        return StakeSteps(kelly, share * part, share * np.minimum(part, cap), together, stake)

    def correlation(self, rows: IntArray) -> Correlation | None:
        """Of the returns of these rows, decided together; None if it is not known."""
        return self.together.correlation(rows) if self.together is not None and len(rows) > 1 else None

    def exposure(self, rows: IntArray, stakes: FloatArray) -> Exposure:
        """How much of the stakes of these rows, decided together, moves together."""
        chosen = stakes > 0
        return Exposure.of(stakes[chosen], self.variance[rows][chosen], self.correlation(rows[chosen]))

    def take(self, rows: np.ndarray) -> Self:
        """The rows at these positions, or where this mask is true."""
        share = None if self.share is None else self.share[rows]
        together = None if self.together is None else self.together.take(rows)
        return replace(self, mean=self.mean[rows], variance=self.variance[rows], share=share, together=together)


@dataclass(frozen=True, eq=False)
class StakeSteps:
    """How stakes came about: each step heeds one bound more, fractions of the bankroll, shape (n,).

    Attributes:
        kelly: full Kelly of the row alone.
        part: the chosen part of it: `kelly_fraction`, or the share that an agent chose.
        capped: with the cap on one stake.
        together: beside the others of its round, because returns move together; the sum has no bound yet.
        stake: with the bound on the sum, as it is advised.
    """

    kelly: FloatArray
    part: FloatArray
    capped: FloatArray
    together: FloatArray
    stake: FloatArray


@dataclass(frozen=True, eq=False)
class Together:
    """What n rows know of how their strategies' returns move together.

    Attributes:
        past: returns of the strategies; of these, what is known when the rows are decided.
        code: of each row's strategy in them, int[n].
        decided: when each row is decided, datetime64[us], shape (n,).
    """

    past: PastReturns
    code: IntArray
    decided: np.ndarray

    @classmethod
    def of(cls, past: PastReturns, rows: pd.DataFrame) -> Self:
        """Of rows of a panel."""
        return cls(past, past.codes(rows), rows[DECISION_TIME].to_numpy("datetime64[us]"))

    def correlation(self, rows: IntArray) -> Correlation | None:
        """Of the returns of these rows, decided at the last of their decision times; None with too few months."""
        return shrunk_correlation(self.past.known(self.decided[rows].max(), self.code[rows]))

    def take(self, rows: np.ndarray) -> Self:
        """The rows at these positions, or where this mask is true."""
        return replace(self, code=self.code[rows], decided=self.decided[rows])


def sizing_of(
    scores: pd.DataFrame,
    panel: pd.DataFrame,
    staking: StakingSpec,
    eligible: Any = None,
    returns: PastReturns | None = None,
) -> Sizing:
    """How rows are staked by the scores of a model.

    Args:
        scores: `FittedModel.predict_frame` of the rows, at least `probability`.
        panel: the rows themselves, for their own gains and losses; a row whose gain is NaN gets no stake.
        staking: the bounds. The caps and the bound on the sum are the same for a model that chooses its own share.
        eligible: which rows may get a stake, bool[n]; the others have no part in the bound. By default all may.
        returns: past ones, that say which strategies move together; without them, or with fewer than
            `covariance.FEWEST_MONTHS` months, the strategies are taken to be independent. The stakes of a model
            that chooses its own share do not depend on them.
    """
    gain = panel[SHRUNK_GAIN] if eligible is None else panel[SHRUNK_GAIN].where(eligible)
    mean, variance = return_moments(scores[PROBABILITY], gain, panel[SHRUNK_LOSS])
    together = None if returns is None else Together.of(returns, panel)
    if KELLY_SHARE in scores:
        own = staking.model_copy(update={"kelly_fraction": 1.0})
        share = scores[KELLY_SHARE].to_numpy(dtype=np.float64)
        return Sizing(mean, variance, own, share, together=together)
    return Sizing(mean, variance, staking, together=together)


def agent_stakes(
    scores: pd.DataFrame, shares: pd.DataFrame | None, panel: pd.DataFrame, staking: StakingSpec
) -> dict[str, FloatArray]:
    """The stakes of each agent of a model, by the name of their column in a scored table; none without agents.

    Args:
        shares: `FittedModel.agent_shares` of the rows, which are labelled.
    """
    if shares is None:
        return {}
    windows = windows_of(panel)
    return {
        f"{AGENT_STAKE}{seed}": replay(
            windows,
            panel[NEXT_ROI],
            sizing_of(scores.assign(**{KELLY_SHARE: share}), panel, staking).size,
        ).stake
        for seed, share in shares.items()
    }


def exposures_of(scored: pd.DataFrame, staking: StakingSpec, returns: PastReturns) -> dict[str, Exposure]:
    """How much of the stakes of each round moves together, by the day it was decided on, in UTC.

    Args:
        scored: one model's rows of a scored table.
        staking: the bounds on their stakes.
        returns: as in `sizing_of`.
    """
    sizing, windows = sizing_of(scored, scored, staking, returns=returns), windows_of(scored)
    stake = scored["stake"].to_numpy(dtype=np.float64)
    days = np.datetime_as_string(windows.instants, unit="D").tolist()
    return {day: sizing.exposure(rows, stake[rows]) for day, rows in zip(days, windows.members, strict=True)}


def judge_staking(scored: pd.DataFrame, forecast: pd.DataFrame, staking: StakingSpec) -> StakingComparison | None:
    """Whether the stakes of a model's agents beat rules of thumb; None where the model does not stake by itself.

    Args:
        scored: the model's rows of a scored table.
        forecast: rows of the model on whose probability the rules stake: the same model, or another on the same rows.
        staking: the bounds on the agents' stakes.

    Raises:
        DataError: the rows are not the same.
    """
    agents = [name for name in scored.columns if name.startswith(AGENT_STAKE) and scored[name].notna().all()]
    if not agents:
        return None
    name = str(forecast["model"].iloc[0])
    if scored[ID].tolist() != forecast[ID].tolist():
        raise DataError(
            f"The rows scored by {scored['model'].iloc[0]} and by {name} differ: materialise both evaluations again."
        )
    rows = StakedRows(
        windows_of(scored),
        *(forecast[column].to_numpy(dtype=np.float64) for column in (PROBABILITY, SHRUNK_GAIN, SHRUNK_LOSS, NEXT_ROI)),
    )
    spec = ComparisonSpec()
    rules = rule_stakes(rows, staking, spec.evidence_windows)
    return compare_staking(rows, scored[agents].to_numpy().T, rules, name, spec)


def rows_of(table: pa.Table, model: str) -> pd.DataFrame:
    """The rows of one model in a scored table."""
    frame = table.to_pandas()
    return frame[frame["model"] == model].reset_index(drop=True)
