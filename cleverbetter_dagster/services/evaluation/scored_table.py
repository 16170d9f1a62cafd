"""Scored test rows as they are stored: one line per row and model, for a family and every baseline."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec, equal_stakes
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, NEXT_ROI
from cleverbetter_dagster.dataset.schema import ID, METHOD, STRATEGY
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.learning.model import CONFIDENCE, KELLY_SHARE, PROBABILITY, SCORE
from cleverbetter_dagster.services.evaluation.stakes import stakes_of
from cleverbetter_dagster.services.records import EvaluatedModel

MODEL = "model"
MODEL_METADATA = b"cleverbetter.model"
CARRIED = [ID, STRATEGY, METHOD, DECISION_TIME, LABEL, NEXT_ROI, SHRUNK_GAIN, SHRUNK_LOSS]


def scored_frame(
    name: str, rows: pd.DataFrame, scores: pd.DataFrame, staking: StakingSpec, eligible: Any = None
) -> pd.DataFrame:
    """The scores of a model for `rows`, with the stakes that follow.

    Args:
        name: of the model.
        rows: of a panel, labelled.
        scores: `FittedModel.predict_frame` of them: at least `probability`.
        staking, eligible: as in `stakes_of`.
    """
    if KELLY_SHARE not in scores and len(np.unique(scores[PROBABILITY])) == 1:
        # One probability for all says nothing about any strategy: equal stakes are its honest allocation.
        stake = np.zeros(len(rows))
        chosen = slice(None) if eligible is None else np.asarray(eligible)
        stake[chosen] = equal_stakes(rows[DECISION_TIME][chosen], staking)
    else:
        stake = stakes_of(scores, rows, staking, rows[DECISION_TIME], eligible)
    columns: dict[str, Any] = {MODEL: name, PROBABILITY: scores[PROBABILITY].to_numpy(), "stake": stake}
    columns |= {column: scores[column].to_numpy() for column in (SCORE, CONFIDENCE, KELLY_SHARE) if column in scores}
    return rows[CARRIED].assign(**columns)


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
    )
