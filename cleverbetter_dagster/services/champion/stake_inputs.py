"""What stakes were made of, strategy by strategy: stored when the champion scores, read when somebody asks why.

A table among the artefacts, one for each model and month (as_of) it scored at. It holds the features of the rows as
they were then, so that an explanation needs no other row, and is of the stake that was advised.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
from pydantic import AwareDatetime, Field

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.services.records import Record
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore

FOLDER = "stake_inputs"
FACTS = b"cleverbetter.scoring"
"""Key of the facts in the table's metadata."""

FEATURE = "feature "
"""Prefix of the columns that hold features."""

STEPS = ("kelly", "part", "capped", "together", "stake")
"""Columns of the steps (`services.evaluation.stakes.StakeSteps`), fractions of the bankroll."""


class ScoringFacts(Record):
    """What all stakes of one scoring share.

    Attributes:
        open_fraction: of the bankroll, held by earlier stakes.
        covariance_months: that say which strategies move together; 0 if they were taken to be independent.
        spec: dataset options of the model.
    """

    as_of: str
    family: str
    version: int
    staking: StakingSpec
    open_fraction: float
    covariance_months: int
    spec: DatasetSpec
    scored_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, eq=False)
class StakeInputs:
    """What the stakes of one scoring were made of.

    Attributes:
        rows: one for each strategy and method: `strategy_id`, `method`, `start_date`, `end_date` (of its newest
            window), `probability`, `mean` and `variance` of its next return, `passes_filter`, `kelly_share` (NaN unless
            the model chooses it) and `STEPS`.
        features: of the same rows, with the same index, float64; NaN is missing.
    """

    facts: ScoringFacts
    rows: pd.DataFrame
    features: pd.DataFrame


def save_inputs(settings: Settings, inputs: StakeInputs) -> None:
    """Store the inputs, in place of those of an earlier scoring of the model at that month."""
    table = pa.Table.from_pandas(inputs.rows.join(inputs.features.add_prefix(FEATURE)), preserve_index=False)
    table = table.replace_schema_metadata({FACTS: inputs.facts.model_dump_json()})
    path = _path(inputs.facts.family, inputs.facts.version, inputs.facts.as_of)
    ArtefactStore(settings.artefacts_base).write_table(path, table)


def read_inputs(settings: Settings, family: str, version: int, as_of: str, renew: str) -> StakeInputs | None:
    """The inputs of a model's stakes at a month; None if they were not stored.

    Args:
        renew: what stores them again, for the message.

    Raises:
        DataError: another release stored them.
    """
    store, path = ArtefactStore(settings.artefacts_base), _path(family, version, as_of)
    if not store.exists(path):
        return None
    table = store.read_tables([path])
    facts = ScoringFacts.read(
        (table.schema.metadata or {}).get(FACTS, b"{}"), f"The artefact {store.url(path)}", f"`{renew}` stores it anew."
    )
    frame = table.replace_schema_metadata(None).to_pandas()
    names = [name for name in frame.columns if name.startswith(FEATURE)]
    features = frame[names].rename(columns=lambda name: name.removeprefix(FEATURE))
    return StakeInputs(facts, frame.drop(columns=names), features)


def _path(family: str, version: int, as_of: str) -> str:
    return f"{FOLDER}/{as_of}/{quote(family, safe='')}-v{version}.parquet"
