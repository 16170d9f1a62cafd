"""What one asset passes to the next: small frozen records, stored as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.quality.left_out import NOTHING, LeftOut
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import TemporalSplit
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.drift import Drift
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
from cleverbetter_dagster.evaluation.staking_comparison import StakingComparison

Action = Literal["promoted", "refused", "kept"]
Training = Literal["full", "incremental"]


class Record(BaseModel):
    """A frozen record. Unknown fields are an error, so that a record of another release is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, content: Mapping[str, Any] | bytes, source: str, remedy: str = "Materialise it again.") -> Self:
        """The record in stored content, as JSON or already parsed.

        Args:
            source: what holds the content, for the message.
            remedy: what to do if the content is of another release.

        Raises:
            DataError: a field is missing, unknown or of another type.
        """
        try:
            return cls.model_validate_json(content) if isinstance(content, bytes) else cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DataError(f"{source} was stored by another release ({fault}). {remedy}") from error


class SplitRecord(Record):
    """The temporal split of one as_of, with its options and the hash of the rows it was made from.

    `market_features` are the columns that the train part has often enough (None: all), `indicators` its categories,
    `quarantine` a sentence about quarantined rows if there are too few examples, `panel_key` that of the stored panel.
    """

    as_of: str
    spec: DatasetSpec
    split: TemporalSplit
    data_hash: str
    rows: int
    market_features: list[str] | None = None
    indicators: list[str] = []
    left_out: LeftOut = NOTHING
    quarantine: str = ""
    panel_key: str | None = None


class StudyRecord(Record):
    """The parameters a family is trained with at one as_of, and their scores on temporal folds.

    Attributes:
        mean_auc: mean AUC over the folds; `train_auc` is that on the rows the folds' models were fitted on.
        value: mean of `metric`, by which the study chose. `default_auc` and `default_value` are those of the defaults.
        trials: settings judged in this study, `pruned` ones included; `earlier_trials` in those that it started from.
        edges: chosen values at an end of their range, each with that end.
        study: name in Optuna's storage; None if there was no search. `warm_started_from` is the name of another study.
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
        """AUC on fitted rows minus AUC on the folds; 0 if the first is unknown."""
        return 0.0 if self.train_auc is None else self.train_auc - self.mean_auc


class ModelRecord(Record):
    """A fitted model in MLflow.

    Attributes:
        trials: settings its parameters were chosen from, in this month's study and in the `earlier_trials` before it.
            `pruned_trials` of this month's study were stopped early.
        fitted_rows: examples that it or its ancestors learned from.
        training: `full`, or `incremental` if it is an update of `parent_version`, an earlier version of its family.
        rows_added: examples this training added. 0 in an update means that the model is the parent's, unchanged.
        rows_lost: examples its ancestors learned from that were deleted or changed since.
        watermark: latest label time it knows.
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
    training: Training = "full"
    parent_version: int | None = None
    rows_added: int = 0
    rows_lost: int = 0
    watermark: datetime | None = None

    @property
    def reuses_parent(self) -> bool:
        """True if the update found no new rows and reuses its parent."""
        return self.parent_version is not None and not self.rows_added


class EvaluatedModel(ModelRecord):
    """A model that was judged on its test rows and registered.

    Attributes:
        staking: bounds on the stakes it was judged with.
        staking_comparison: its own stakes against rules on its own probability; None if it does not stake by itself.
    """

    version: int
    headline: dict[str, float | None]
    staking: StakingSpec = StakingSpec()
    staking_comparison: StakingComparison | None = None


class ComparisonRecord(Record):
    """The leaderboard of one as_of, best first, and the model that challenges the champion.

    Attributes:
        staking: by family that stakes by itself: its stakes against rules on the probability of one that does not.
        passed_over: by family with a lower Brier score than the challenger: why it does not challenge.
        broken_guards: by family: the messages of its failed checks that guard promotion. All families learn from the
            same rows, so one family that is too good to be true stops every promotion.
    """

    as_of: str
    leaderboard: list[LeaderboardRow]
    models: dict[str, EvaluatedModel]
    challenger: str
    staking: dict[str, StakingComparison] = {}
    passed_over: dict[str, list[str]] = {}
    broken_guards: dict[str, list[str]] = {}

    def staking_comparisons(self, family: str) -> list[StakingComparison]:
        """Every comparison of the stakes a family places by itself; none if it leaves them to Kelly."""
        comparisons = (self.models[family].staking_comparison, self.staking.get(family))
        return [comparison for comparison in comparisons if comparison is not None]


class ChampionRecord(Record):
    """The decision on the challenger of one as_of, and the champion afterwards."""

    as_of: str
    action: Action
    reasons: list[str]
    challenger_family: str
    challenger_version: int
    champion_family: str | None
    champion_version: int | None
    champion_as_of: str | None = None


class PredictionsRecord(Record):
    """The predictions of one as_of, features of the model that no strategy has, and what earlier stakes still hold."""

    as_of: str
    family: str | None
    version: int | None
    strategies: int
    staked: int
    total_stake_fraction: float
    open_stake_fraction: float = 0.0
    newest_decision: datetime | None = None
    staking: StakingSpec | None = None
    unmeasured_features: list[str] = []


class ReportRecord(Record):
    """A report among the artefacts: one HTML file.

    Attributes:
        kind: its subject: a family's name, `split`, `comparison` or `walk_forward`.
        path: below the base of the artefacts; `url` is the full address.
        run_id: the MLflow run that also has it; None for a split.
    """

    kind: str
    as_of: str
    path: str
    url: str
    sha256: str
    size_bytes: int
    run_id: str | None


class SignificanceRecord(Record):
    """How likely the return of a model's stakes is skill.

    Attributes:
        monthly_sharpe: Sharpe ratio of the monthly returns, not annualised; None if they do not vary.
        probabilistic_sharpe: probability that the true ratio is above 0.
        deflated_sharpe: probability that it is above the best ratio that luck gives among all trials.
        tuning_trials: settings tried in tuning. The trials are these and the `independent_strategies`.
        effective_rows: independent rows that `rows` are worth; rows of one month share its races.
    """

    months: int
    monthly_sharpe: float | None
    probabilistic_sharpe: float | None
    deflated_sharpe: float | None
    tuning_trials: int
    independent_strategies: float
    strategies: int
    rows: int
    effective_rows: float

    def metrics(self) -> dict[str, float | None]:
        """The figures that MLflow and the UI show, by name."""
        return self.model_dump(exclude={"months", "tuning_trials", "strategies", "rows"})


class StrategyDecay(Record):
    """A strategy's live returns against its backtests: means over its predictions whose windows have closed.

    Attributes:
        backtest_return: mean return of its windows before each prediction.
        expected_return: return that the champion expected; `live_return` is that of the window that followed.
    """

    strategy_id: str
    method: str
    predictions: int
    backtest_return: float
    expected_return: float
    live_return: float

    @property
    def decay(self) -> float:
        """Live minus backtest return; below 0 if the backtests promised too much."""
        return self.live_return - self.backtest_return


class MonitoringRecord(Record):
    """The champion of a month: drift since its training, and its predictions against their outcomes.

    Attributes:
        rows: rows decided in the month, with the median of their composite scores (`composite_median`) and the share
            below 0.3 (`composite_below`). `drift_rows` counts those that pass the champion's quality filter.
        score_drift: of the champion's raw score, from its test rows to the month's rows; None without either.
        feature_drift: the features that moved most since its training rows.
        moved_importance: share of the champion's decisions, 0..1, that rests on features that moved far.
        closed: predictions by any champion whose windows closed within a year, as a leaderboard row.
        own: those by this champion.
        lead: the champion's loss minus the base rate's on its own closed predictions; below 0 is better.
            `promoted_lead` is the same on its test rows when it was promoted.
        decay: mean of live minus backtest return over the closed predictions; `decayed` has the worst strategies.
    """

    as_of: str
    rows: int
    composite_median: float | None
    composite_below: float | None
    family: str | None = None
    version: int | None = None
    champion_as_of: str | None = None
    drift_rows: int = 0
    score_drift: Drift | None = None
    feature_drift: tuple[Drift, ...] = ()
    moved_importance: float | None = None
    closed: LeaderboardRow | None = None
    own: LeaderboardRow | None = None
    lead: Estimate | None = None
    promoted_lead: Estimate | None = None
    decay: Estimate | None = None
    decayed: tuple[StrategyDecay, ...] = ()
