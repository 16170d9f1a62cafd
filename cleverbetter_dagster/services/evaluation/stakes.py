"""From what a model says to stakes, the same for test rows and live strategies; and what its own stakes are worth."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.staking import StakingSpec, allocate, return_moments
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.labels import DECISION_TIME, NEXT_ROI
from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.staking_comparison import (
    ComparisonSpec,
    StakedRows,
    StakingVerdict,
    compare_staking,
    rule_stakes,
)
from cleverbetter_dagster.learning.model import KELLY_SHARE, PROBABILITY

AGENT_STAKE = "agent_stake "
"""How the columns of a scored table begin that hold the stakes of an agent, one a seed."""


def stakes_of(said: pd.DataFrame, panel: pd.DataFrame, staking: StakingSpec, group: Any = None) -> FloatArray:
    """Stakes that follow from what a model said, fractions of the bankroll, [n].

    A model that says `kelly_share` chooses its fraction of Kelly itself; of others it is `staking.kelly_fraction`. The
    caps and the bound on the sum are the same for both.

    Args:
        said: `FittedModel.predict_frame` of the rows, at least `probability`.
        panel: the rows themselves, for their own gains and losses; a row whose gain is NaN gets no stake.
        staking: the bounds.
        group: decision time of each row; by default all were decided together.
    """
    probability = said[PROBABILITY].to_numpy()
    if KELLY_SHARE in said:
        return stakes_by_share(said[KELLY_SHARE].to_numpy(), probability, panel, staking, group)
    mean, variance = return_moments(probability, panel[SHRUNK_GAIN], panel[SHRUNK_LOSS])
    return allocate(mean, variance, staking, group)


def stakes_by_share(
    share: FloatArray, probability: FloatArray, panel: pd.DataFrame, staking: StakingSpec, group: Any = None
) -> FloatArray:
    """Stakes of a model that chooses its share of the full Kelly stake, [n]; see `stakes_of`."""
    mean, variance = return_moments(probability, panel[SHRUNK_GAIN], panel[SHRUNK_LOSS])
    return allocate(mean, variance, staking.model_copy(update={"kelly_fraction": 1.0}), group, share)


def judge_staking(
    scored: pd.DataFrame, forecast: pd.DataFrame, staking: StakingSpec, spec: ComparisonSpec | None = None
) -> StakingVerdict | None:
    """Whether the stakes of a model's agents beat rules of thumb; None where the model does not stake by itself.

    Args:
        scored: the model's rows of a scored table.
        forecast: rows of the model on whose probability the rules stake: the same model, or another of the same rows.
        staking: the bounds that held for the agents.
        spec: how to compare.

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
        pd.DatetimeIndex(scored[DECISION_TIME]),
        *(forecast[column].to_numpy(dtype=np.float64) for column in (PROBABILITY, SHRUNK_GAIN, SHRUNK_LOSS, NEXT_ROI)),
    )
    spec = spec or ComparisonSpec()
    rules = rule_stakes(rows, staking, spec.evidence_windows)
    return compare_staking(rows, scored[agents].to_numpy().T, rules, name, spec)


def rows_of(table: pa.Table, model: str) -> pd.DataFrame:
    """The rows of one model in a scored table."""
    frame = table.to_pandas()
    return frame[frame["model"] == model].reset_index(drop=True)
