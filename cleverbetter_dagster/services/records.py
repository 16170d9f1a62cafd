"""What one asset hands to the next: small frozen records, kept as JSON and read back as they were."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import TemporalSplit

Action = Literal["promoted", "refused", "kept"]


class Record(BaseModel):
    """A frozen record; unknown fields are an error, so that a record of another version is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitRecord(Record):
    """The temporal split of one as_of, with the spec it was made by and the hash of the rows it was made from."""

    as_of: str
    spec: DatasetSpec
    split: TemporalSplit
    data_hash: str
    rows: int


class StudyRecord(Record):
    """The parameters a family will be trained with at one as_of, and how they scored on temporal folds.

    Attributes:
        mean_auc: mean AUC over the folds; `train_auc` that on the rows the folds' models were fitted on.
        value: mean of `metric`, by which the study chose; `default_auc` and `default_value` are the defaults'.
        trials: settings judged in this study, `pruned` ones included.
        earlier_trials: settings judged in the studies it was started from, one after another.
        edges: chosen values at an end of their range, each with that end.
        study: name in Optuna's storage; None where nothing was searched. `warm_started_from` is another's name.
    """

    family: str
    as_of: str
    params: dict[str, JsonValue]
    mean_auc: float
    default_auc: float
    trials: int
    seed: int
    pruned: int = 0
    earlier_trials: int = 0
    metric: str = "auc"
    value: float | None = None
    default_value: float | None = None
    train_auc: float | None = None
    edges: dict[str, float] = {}
    study: str | None = None
    warm_started_from: str | None = None

    @property
    def gap(self) -> float:
        """AUC on fitted rows less that on the folds; 0 where the first is not known."""
        return 0.0 if self.train_auc is None else self.train_auc - self.mean_auc


class ModelRecord(Record):
    """A fitted model as it lies in MLflow.

    Attributes:
        trials: settings its parameters were chosen from: all that were judged, in this month's study and in the
            `earlier_trials` of the studies that one was started from. `pruned_trials` of this month's were stopped
            early.
    """

    family: str
    as_of: str
    run_id: str
    model_uri: str
    sha256: str
    params: dict[str, JsonValue]
    trials: int
    pruned_trials: int = 0
    earlier_trials: int = 0
    seed: int
    data_hash: str
    fitted_rows: int


class EvaluatedModel(ModelRecord):
    """A model that was judged on its test rows and registered."""

    version: int
    headline: dict[str, float | None]


class ComparisonRecord(Record):
    """The leaderboard of one as_of, best first, and the model that challenges the champion."""

    as_of: str
    leaderboard: list[dict[str, Any]]
    models: dict[str, EvaluatedModel]
    challenger: str


class ChampionRecord(Record):
    """What became of the challenger of one as_of, and which model is champion now."""

    as_of: str
    action: Action
    reasons: list[str]
    challenger_family: str
    challenger_version: int
    champion_family: str | None
    champion_version: int | None


class PredictionsRecord(Record):
    """What was written to the predictions table at one as_of."""

    as_of: str
    family: str | None
    version: int | None
    strategies: int
    staked: int
    total_stake_fraction: float
