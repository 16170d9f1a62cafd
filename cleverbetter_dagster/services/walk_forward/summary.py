"""What a walk-forward says, in words."""

from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
from cleverbetter_dagster.services.walk_forward.records import WalkForwardRecord
from cleverbetter_dagster.services.walk_forward.study import EQUAL_STAKES


def summary_of(record: WalkForwardRecord) -> str:
    """What the walk-forward says, in three sentences."""
    family = next(row for row in record.board if row.name in record.significance)
    baseline = next(row for row in record.board if row.name not in record.significance)
    equal = next(row for row in record.board if row.name == EQUAL_STAKES)
    skill, policy = record.significance[family.name], record.replays[0]
    oldest = max((step for step in record.decay if step.family == family.name), key=lambda step: step.age)
    lead = f" (a paired difference of {record.lead})" if record.lead else ""
    decay = f"; {oldest.age} months old its AUC differs by {oldest.auc_change}" if oldest.auc_change else ""
    return (
        f"Over {family.n_months} months after {record.as_ofs[0]} to {record.as_ofs[-1]} the best family, "
        f"{family.name}, had a Brier score of {family.brier} against {baseline.brier} of the best baseline, "
        f"{baseline.name}{lead}, and an AUC of {family.roc_auc}{decay}. "
        f"Its stakes grew the bankroll by {family.growth} where equal stakes gave {equal.growth}; the probability that "
        f"its Sharpe ratio is above zero is {_number(skill.probabilistic_sharpe)}, above the luckiest of all trials "
        f"{_number(skill.deflated_sharpe)}. "
        f"The promotion policy would have promoted {policy.promotions} of {len(policy.decisions)} challengers and "
        f"{_growth(policy.board)}; choosing the best strategy by its past is overfitted with "
        f"probability {_number(record.overfitting_of_strategies)}."
    )


def _growth(board: LeaderboardRow | None) -> str:
    if board is None:
        return "earned nothing, having promoted nobody"
    return f"grown the bankroll by {board.growth} in the {board.n_months} months in which a champion stood"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
