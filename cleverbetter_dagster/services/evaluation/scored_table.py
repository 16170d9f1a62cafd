"""Scored test rows as they are stored: one line per row and model, for a family and every baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.betting.open_stakes import replay
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, LABEL_TIME, NEXT_ROI, NEXT_START, windows_of
from cleverbetter_dagster.dataset.schema import ID, METHOD, STRATEGY
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.learning.model import CONFIDENCE, KELLY_SHARE, PROBABILITY, SCORE
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.stakes import Sizing, sizing_of
from cleverbetter_dagster.services.records import EvaluatedModel

MODEL = "model"
MODEL_METADATA = b"cleverbetter.model"
CARRIED = [ID, STRATEGY, METHOD, DECISION_TIME, NEXT_START, LABEL_TIME, LABEL, NEXT_ROI, SHRUNK_GAIN, SHRUNK_LOSS]


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """Labelled rows as one model scored them, and how it stakes them; `staked` gives several such parts their stakes.

    Attributes:
        frame: the columns `CARRIED`, `model` and those of the scores.
        sizing: of its rows, in the same order.
    """

    frame: pd.DataFrame
    sizing: Sizing

    def take(self, chosen: np.ndarray) -> Self:
        """The rows where this mask is true."""
        return replace(self, frame=self.frame[chosen], sizing=self.sizing.take(chosen))


def scored_part(
    name: str,
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    staking: StakingSpec,
    eligible: Any = None,
    returns: PastReturns | None = None,
) -> ScoredPart:
    """The scores of a model for `rows`.

    Args:
        name: of the model.
        rows: of a panel, labelled.
        scores: `FittedModel.predict_frame` of them: at least `probability`.
        staking, eligible, returns: as in `sizing_of`.
    """
    columns: dict[str, Any] = {MODEL: name}
    columns |= {
        name: scores[name].to_numpy() for name in (PROBABILITY, SCORE, CONFIDENCE, KELLY_SHARE) if name in scores
    }
    sizing = sizing_of(scores, rows, staking, eligible, returns)
    # One probability for all says nothing about any strategy: equal stakes are its honest allocation.
    equal = sizing.share is None and len(np.unique(scores[PROBABILITY])) == 1
    return ScoredPart(rows[CARRIED].assign(**columns), replace(sizing, equal=equal))


def staked(parts: Sequence[ScoredPart]) -> pd.DataFrame:
    """The rows of all parts on their own index, with `stake`: placed by one bankroll, in the order of events.

    Rows of several parts that are decided in one round are staked in the order of the parts.
    """
    frame = pd.concat([part.frame for part in parts])
    part_of = np.repeat(np.arange(len(parts)), [len(part.frame) for part in parts])
    place = np.concatenate([np.arange(len(part.frame)) for part in parts])

    def size(rows: IntArray, open_fraction: float) -> FloatArray:
        stake = np.zeros(len(rows))
        for number in np.unique(part_of[rows]):
            own = part_of[rows] == number
            stake[own] = parts[number].sizing.size(place[rows[own]], open_fraction + stake.sum())
        return stake

    return frame.assign(stake=replay(windows_of(frame), frame[NEXT_ROI], size).stake)


def scored_frame(
    name: str,
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    staking: StakingSpec,
    returns: PastReturns | None = None,
) -> pd.DataFrame:
    """The scores of a model for `rows`, with the stakes that follow; arguments as in `scored_part`."""
    return staked([scored_part(name, rows, scores, staking, returns=returns)])


def scored_table(frames: list[pd.DataFrame]) -> pa.Table:
    """The frames of several models as one table."""
    return pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)


def signed(table: pa.Table, model: EvaluatedModel) -> pa.Table:
    """The table with the model it judges written into its metadata, so that they stay together."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), MODEL_METADATA: model.model_dump_json()})


def evaluated_model(table: pa.Table) -> EvaluatedModel:
    """The model a signed table judges.

    Raises:
        DataError: the table is not signed, or by another release.
    """
    text = (table.schema.metadata or {}).get(MODEL_METADATA)
    if text is None:
        raise DataError("The scored rows do not say which model they judge. Materialise the evaluation again.")
    return EvaluatedModel.read(text, "The model in the scored rows", "Materialise the evaluation again.")


def scored_by_model(tables: list[pa.Table]) -> dict[str, ScoredRows]:
    """Every model's scored rows by its name; of a baseline that is in several tables, those of the first."""
    scored: dict[str, ScoredRows] = {}
    for table in tables:
        for name, rows in table.to_pandas().groupby(MODEL, sort=False):
            scored.setdefault(str(name), scored_rows(rows))
    return scored


def scored_rows(frame: pd.DataFrame) -> ScoredRows:
    """One model's rows of a scored frame."""
    return ScoredRows(
        decision_time=pd.DatetimeIndex(frame[DECISION_TIME]),
        label=frame[LABEL].to_numpy(dtype=np.float64),
        next_roi=frame[NEXT_ROI].to_numpy(dtype=np.float64),
        probability=frame[PROBABILITY].to_numpy(dtype=np.float64),
        stake=frame["stake"].to_numpy(dtype=np.float64),
        windows=windows_of(frame),
    )
