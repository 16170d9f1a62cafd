"""Scored test rows as they are stored: one line per row and model, the family and every baseline below each other."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec, equal_stakes
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, NEXT_ROI
from cleverbetter_dagster.dataset.schema import ID, METHOD, STRATEGY
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.learning.model import KELLY_SHARE
from cleverbetter_dagster.services.evaluation.stakes import AGENT_STAKE, stakes_by_share, stakes_of
from cleverbetter_dagster.services.records import EvaluatedModel

MODEL = "model"
MODEL_METADATA = b"cleverbetter.model"
CARRIED = [ID, STRATEGY, METHOD, DECISION_TIME, LABEL, NEXT_ROI, SHRUNK_GAIN, SHRUNK_LOSS]


def scored_frame(
    name: str, examples: Examples, said: pd.DataFrame, staking: StakingSpec, agents: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What a model said about `examples`, with the stake that follows.

    Args:
        name: of the model.
        examples: rows to be judged on.
        said: `FittedModel.predict_frame` of them: at least `probability`.
        staking: the bounds on stakes.
        agents: `FittedModel.agent_shares` of them, if the model has any: a column of stakes for each.
    """
    frame = examples.frame
    probability = said["probability"].to_numpy()
    if KELLY_SHARE not in said and len(np.unique(probability)) == 1:
        # One probability for all says nothing about any strategy: equal stakes are its honest allocation.
        stake = equal_stakes(frame[DECISION_TIME], staking)
    else:
        stake = stakes_of(said, frame, staking, frame[DECISION_TIME])
    columns: dict[str, Any] = {MODEL: name, "probability": probability, "stake": stake}
    columns |= {column: said[column].to_numpy() for column in ("score", "confidence", KELLY_SHARE) if column in said}
    for seed, share in agents.items() if agents is not None else ():
        columns[f"{AGENT_STAKE}{seed}"] = stakes_by_share(
            share.to_numpy(), probability, frame, staking, frame[DECISION_TIME]
        )
    return frame[CARRIED].assign(**columns)


def scored_table(frames: list[pd.DataFrame]) -> pa.Table:
    """The frames of several models as one table."""
    return pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)


def signed(table: pa.Table, model: EvaluatedModel) -> pa.Table:
    """The table with the model it judges written into its metadata, so that one cannot go without the other."""
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
    """Every model's scored rows by its name; of a baseline that stands in several tables, the first."""
    found: dict[str, ScoredRows] = {}
    for table in tables:
        for name, rows in table.to_pandas().groupby(MODEL, sort=False):
            found.setdefault(str(name), scored_rows(rows))
    return found


def scored_rows(frame: pd.DataFrame) -> ScoredRows:
    """One model's rows of a scored frame."""
    return ScoredRows(
        decision_time=pd.DatetimeIndex(frame[DECISION_TIME]),
        label=frame[LABEL].to_numpy(dtype=np.float64),
        next_roi=frame[NEXT_ROI].to_numpy(dtype=np.float64),
        probability=frame["probability"].to_numpy(dtype=np.float64),
        stake=frame["stake"].to_numpy(dtype=np.float64),
    )
