"""What the walk-forward report is made of: records of its parts, and the one that holds them."""

from cleverbetter_dagster.evaluation.filter_effect import FilterEffect
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
from cleverbetter_dagster.services.records import Action, Record, SignificanceRecord


class ReplayedDecision(Record):
    """What the promotion policy would have decided at one as_of, and who would have stood from then on."""

    as_of: str
    challenger: str
    action: Action
    champion: str | None
    champion_as_of: str | None
    reasons: tuple[str, ...]


class DecayStep(Record):
    """A family's models at one age, in months.

    Attributes:
        months: months judged; older ages lack the first of them.
        auc_within_months: on all rows at that age.
        brier_change: Brier score at that age minus that of the models of age 1 on the same rows; above 0 is worse.
        auc_change: likewise of the AUC; below 0 is worse.
    """

    family: str
    age: int
    months: int
    rows: int
    auc_within_months: Estimate
    brier_change: Estimate | None
    auc_change: Estimate | None


class Stability(Record):
    """How alike a family's months are.

    Attributes:
        auc_deviation: standard deviation of the monthly AUC; None below two months that have one.
        above_chance: share of those months with an AUC above one half.
        beating_baselines: share of the months with a Brier score below that of each baseline.
        worst_month: the month of the largest loss on the bankroll, and `worst_return` what it returned.
        rank_agreement: mean rank correlation of what the models of two as_ofs a month apart say of the same rows.
    """

    family: str
    months: int
    auc_deviation: float | None
    above_chance: float | None
    beating_baselines: float
    worst_month: str
    worst_return: float
    rank_agreement: float | None


class Familiarity(Record):
    """A family on the strategies it had learned from, or on those it had never seen."""

    family: str
    unseen: bool
    strategies: int
    row: LeaderboardRow | None


class ReplayRecord(Record):
    """The promotion policy over time: its decisions, and what its champions' stakes earned; None before the first."""

    policy: str
    decisions: tuple[ReplayedDecision, ...]
    row: LeaderboardRow | None

    @property
    def promotions(self) -> int:
        """How often it would have promoted."""
        return sum(decision.action == "promoted" for decision in self.decisions)


class WalkForwardRecord(Record):
    """The walk-forward study in figures. Its monthly frame is the table this record is kept in.

    Attributes:
        as_ofs: months whose models were judged on the month after; `windows` names their window of history, as
            `expanding` or `rolling 24 months`.
        leaderboard: families and baselines over all months, best Brier score first, intervals by resampling months.
        lead: Brier score of the best family minus the best baseline's on the same rows; None where they were not judged
            on the same ones.
        significance: by family; `trials` of its tuning are those of the as_of with most.
        overfitting_of_models: probability of backtest overfitting of choosing among families and baselines by their
            past Sharpe ratio; `overfitting_of_strategies` of choosing the best strategy. None with too few months.
    """

    as_ofs: tuple[str, ...]
    windows: dict[str, str]
    data_hash: str
    leaderboard: tuple[LeaderboardRow, ...]
    decay: tuple[DecayStep, ...]
    stability: tuple[Stability, ...]
    familiarity: tuple[Familiarity, ...]
    replays: tuple[ReplayRecord, ...]
    significance: dict[str, SignificanceRecord]
    filter_effects: dict[str, FilterEffect]
    overfitting_of_models: float | None
    overfitting_of_strategies: float | None
    lead: Estimate | None = None

    @property
    def families(self) -> list[str]:
        """Families, best Brier score first."""
        return [row.name for row in self.leaderboard if row.name in self.significance]

    @property
    def baselines(self) -> list[str]:
        """Baselines, best Brier score first."""
        return [row.name for row in self.leaderboard if row.name not in self.significance]
