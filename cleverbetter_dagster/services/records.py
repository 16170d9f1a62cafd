"""What one asset passes to the next: small frozen records, stored as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import TemporalSplit
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.drift import Drift
from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
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
        fitted_rows: examples it has learned from, by its ancestors too.
        training: whether it was fitted anew or goes on from `parent_version`, the version of its family before.
        rows_added: examples it learned from itself. Where a parent had nothing to add, it is the parent's own model,
            standing at a later as_of.
        rows_lost: examples its ancestors learned from that are gone, or no longer what they were.
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
    def is_parents_own(self) -> bool:
        """Whether it is a registered version already, to which nothing could be added."""
        return self.parent_version is not None and not self.rows_added


class EvaluatedModel(ModelRecord):
    """A model that was judged on its test rows and registered.

    Attributes:
        staking: bounds on the stakes it was judged with.
        staking_comparison: its own stakes beside rules on its own probability; None where it does not stake by itself.
    """

    version: int
    headline: dict[str, float | None]
    staking: StakingSpec = StakingSpec()
    staking_comparison: StakingComparison | None = None


class ComparisonRecord(Record):
    """The leaderboard of one as_of, best first, and the model that challenges the champion.

    Attributes:
        staking: by family that stakes by itself, its stakes beside rules on the probability of one that does not.
        passed_over: by family that would have challenged, why it does not.
        broken_guards: by family, what its checks that guard promotion found. All families learn from the same rows, so
            nobody is promoted where one of them is too good to be true.
    """

    as_of: str
    leaderboard: list[LeaderboardRow]
    models: dict[str, EvaluatedModel]
    challenger: str
    staking: dict[str, StakingComparison] = {}
    passed_over: dict[str, list[str]] = {}
    broken_guards: dict[str, list[str]] = {}

    def staking_comparisons(self, family: str) -> list[StakingComparison]:
        """Every comparison of the stakes a family places by itself; none where it leaves them to Kelly."""
        found = (self.models[family].staking_comparison, self.staking.get(family))
        return [comparison for comparison in found if comparison is not None]


class ChampionRecord(Record):
    """What became of the challenger of one as_of, and which model is champion now."""

    as_of: str
    action: Action
    reasons: list[str]
    challenger_family: str
    challenger_version: int
    champion_family: str | None
    champion_version: int | None
    champion_as_of: str | None = None


class PredictionsRecord(Record):
    """What was written to the predictions table at one as_of; `staking` are the bounds on its stakes."""

    as_of: str
    family: str | None
    version: int | None
    strategies: int
    staked: int
    total_stake_fraction: float
    newest_decision: datetime | None = None
    staking: StakingSpec | None = None


class ReportRecord(Record):
    """A report as it lies among the artefacts: one HTML file.

    Attributes:
        kind: what it is about: a family's name, `split`, `comparison` or `walk_forward`.
        path: below the base of the artefacts; `url` is where that is.
        run_id: the MLflow run that holds it as well; a split has none.
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
        monthly_sharpe: Sharpe ratio of the monthly returns, not annualised; None where they do not vary.
        probabilistic_sharpe: probability that the true ratio is above 0.
        deflated_sharpe: probability that it is above what the luckiest of all trials would show.
        tuning_trials: settings tried; with the independent strategies among all `strategies` they are the trials.
        effective_rows: independent rows the rows are worth, since those of one month share its races.
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
        """The figures a tracker keeps, by name."""
        kept = {"monthly_sharpe", "probabilistic_sharpe", "deflated_sharpe", "independent_strategies", "effective_rows"}
        return self.model_dump(include=kept)


class StrategyDecay(Record):
    """A strategy live against its backtests: means over its predictions whose windows have closed.

    Attributes:
        backtest_return: mean return of its windows up to each prediction; `expected_return` what the champion expected.
        live_return: of the window that followed.
    """

    strategy_id: str
    method: str
    predictions: int
    backtest_return: float
    expected_return: float
    live_return: float

    @property
    def decay(self) -> float:
        """Live less backtest; below 0 where the backtest promised too much."""
        return self.live_return - self.backtest_return


class MonitoringRecord(Record):
    """The champion of a month, watched: new rows against those it learned from, its predictions against outcomes.

    Attributes:
        rows, composite_median, composite_below: rows decided in the month; median of their composite scores, and the
            share below 0.3. `drift_rows` are those of the quality the champion was trained on.
        score_drift: of the champion's raw score, from its test rows to the month's new rows; None without either.
        feature_drift: the features that moved most since its training rows; `moved_importance` is the share of the
            champion's decisions, 0..1, that rests on features that moved far.
        closed: predictions of whichever champion whose windows closed within a year, as a leaderboard row.
        own: those of this champion; `lead` is its loss less the base rate's on them, `promoted_lead` the same when it
            was promoted. Below 0 is better.
        decay: mean over closed predictions of live less backtest return; `decayed` the strategies furthest below.
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
    lead: Interval | None = None
    promoted_lead: float | None = None
    decay: Interval | None = None
    decayed: tuple[StrategyDecay, ...] = ()
