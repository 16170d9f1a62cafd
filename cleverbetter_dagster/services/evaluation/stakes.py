"""Stakes from the scores of a model, for test rows and live strategies alike; and whether an agent's stakes pay off."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.betting.open_stakes import replay
from cleverbetter_dagster.betting.staking import StakingSpec, allocate, equal_stakes, return_moments
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.labels import NEXT_ROI, windows_of
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
    """

    mean: FloatArray
    variance: FloatArray
    staking: StakingSpec
    share: FloatArray | None = None
    equal: bool = False

    def size(self, rows: IntArray, open_fraction: float = 0.0) -> FloatArray:
        """Stakes of the rows at these positions, decided together, while so much of the bankroll is open."""
        mean, variance = self.mean[rows], self.variance[rows]
        if self.equal:
            stake, known = np.zeros(len(rows)), np.isfinite(mean)
            stake[known] = equal_stakes(int(known.sum()), self.staking, open_fraction)
            return stake
        share = None if self.share is None else self.share[rows]
        return allocate(mean, variance, self.staking, share, open_fraction)

    def take(self, rows: np.ndarray) -> Self:
        """The rows at these positions, or where this mask is true."""
        share = None if self.share is None else self.share[rows]
        return replace(self, mean=self.mean[rows], variance=self.variance[rows], share=share)


def sizing_of(scores: pd.DataFrame, panel: pd.DataFrame, staking: StakingSpec, eligible: Any = None) -> Sizing:
    """How rows are staked by the scores of a model.

    Args:
        scores: `FittedModel.predict_frame` of the rows, at least `probability`.
        panel: the rows themselves, for their own gains and losses; a row whose gain is NaN gets no stake.
        staking: the bounds. The caps and the bound on the sum are the same for a model that chooses its own share.
        eligible: which rows may get a stake, bool[n]; the others have no part in the bound. By default all may.
    """
    gain = panel[SHRUNK_GAIN] if eligible is None else panel[SHRUNK_GAIN].where(eligible)
    mean, variance = return_moments(scores[PROBABILITY], gain, panel[SHRUNK_LOSS])
    if KELLY_SHARE in scores:
        own = staking.model_copy(update={"kelly_fraction": 1.0})
        return Sizing(mean, variance, own, scores[KELLY_SHARE].to_numpy(dtype=np.float64))
    return Sizing(mean, variance, staking)


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
