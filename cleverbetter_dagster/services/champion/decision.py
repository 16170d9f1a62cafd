"""The promotion decision, from scored test rows alone. No ledger, no registry, no files.

The asset `champion` and the promotion replay of the walk-forward both decide here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cleverbetter_dagster.evaluation.checks import broken_guards
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, Verdict, judge
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.staking_comparison import StakingComparison
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.services.evaluation.checks import MODEL_CHECKS
from cleverbetter_dagster.services.records import Action
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.split_checks import SPLIT_CHECKS

IS_CHAMPION = "It is the champion already."
"""Reason where the challenger is kept."""


@dataclass(frozen=True)
class Contest:
    """A challenger, and what is known of it before the gate looks.

    Attributes:
        family: of the challenger.
        is_champion: whether the challenger is the champion already.
        staking: comparisons of the stakes it places by itself; none where it leaves them to Kelly.
        broken_guards: by family of the same month, what its failed checks say.
    """

    family: str
    is_champion: bool
    staking: Sequence[StakingComparison]
    broken_guards: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ModelScores:
    """The test rows of the challenger's month, as the models in question scored them. All have them in their future.

    Attributes:
        dataset: the rows, and the split they come from.
        champion: None if there is none, or if it could not be scored.
        baselines: every baseline, by name; more models may be in it.
        not_scored: why the champion could not be scored.
    """

    dataset: Dataset
    challenger: ScoredRows
    champion: ScoredRows | None
    baselines: Mapping[str, ScoredRows]
    not_scored: tuple[str, ...] = ()


def decide_promotion(
    contest: Contest, scores: Callable[[], ModelScores], policy: PromotionPolicy
) -> tuple[Action, Verdict | None]:
    """Whether the challenger of a month becomes champion.

    It is refused where a check that guards training or promotion fails, its own or another family's: all families
    learn from the same rows.

    Args:
        contest: the challenger.
        scores: called only where there is something to judge.
        policy: what the challenger has to show.

    Returns:
        The action, and the verdict it rests on; no verdict where the challenger is the champion already.
    """
    if contest.is_champion:
        return "kept", None
    verdict = gate_verdict(scores(), policy, contest.staking)
    others = {family: broken for family, broken in contest.broken_guards.items() if family != contest.family}
    verdict = _refused_for([f"{family}: {sentence}" for family in others for sentence in others[family]], verdict)
    return ("promoted" if verdict.promote else "refused"), verdict


def gate_verdict(scores: ModelScores, policy: PromotionPolicy, staking: Sequence[StakingComparison]) -> Verdict:
    """The gate's verdict on a model; a refusal where one of the model's own guarding checks fails."""
    baselines = {name: scores.baselines[name] for name in BASELINES}
    verdict = judge(scores.challenger, scores.champion, baselines, policy, staking)
    verdict = verdict.model_copy(update={"reasons": (*scores.not_scored, *verdict.reasons)})
    broken = [*broken_guards(SPLIT_CHECKS, scores.dataset), *broken_guards(MODEL_CHECKS, scores.challenger)]
    return _refused_for(broken, verdict)


def _refused_for(broken: Sequence[str], verdict: Verdict) -> Verdict:
    """The verdict, but a refusal where any guard is broken."""
    if not broken:
        return verdict
    return verdict.model_copy(update={"promote": False, "reasons": (*broken, *verdict.reasons)})
