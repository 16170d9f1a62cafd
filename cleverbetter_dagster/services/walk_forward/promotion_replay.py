"""The promotion policy replayed over past months in memory: no ledger, no registry, the same decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.champion.decision import IS_CHAMPION, Contest, ModelScores, decide_promotion
from cleverbetter_dagster.services.evaluation.compare import Candidate, choose_challenger
from cleverbetter_dagster.services.records import ModelRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.walk_forward.records import ReplayedDecision


@dataclass(frozen=True)
class LoadedModel:
    """A fitted model with its record and the bounds on its stakes."""

    record: ModelRecord
    fitted: FittedModel
    staking: StakingSpec

    @property
    def run(self) -> tuple[str, str]:
        """Family and MLflow run: equal for a model and an update of it that found no new rows."""
        return self.record.family, self.record.run_id


class PromotionReplay:
    """Who would be champion, month by month, if only some families took part.

    Args:
        name: shown to people.
        families: those that may challenge.
        policy: what the challenger has to show.
    """

    def __init__(self, name: str, families: Sequence[str], policy: PromotionPolicy) -> None:
        self.name = name
        self.champion: LoadedModel | None = None
        self.decisions: list[ReplayedDecision] = []
        self._families = families
        self._policy = policy

    def add_month(
        self,
        dataset: Dataset,
        models: Mapping[str, LoadedModel],
        candidates: Mapping[str, Candidate],
        scored: Mapping[str, ScoredRows],
    ) -> None:
        """Decide the next as_of, later than the one before. Without a model of any family nothing is decided.

        Args:
            dataset: of the as_of.
            models: of the as_of, by family.
            candidates: the same models on the test rows.
            scored: the test rows as scored by each family, each baseline and, by the name of its replay, each champion.
        """
        taking_part = {family: candidates[family] for family in self._families if family in candidates}
        if not taking_part:
            return
        choice = choose_challenger(taking_part)
        challenger, champion = models[choice.challenger], self.champion
        contest = Contest(
            family=choice.challenger,
            is_champion=champion is not None and champion.run == challenger.run,
            staking=choice.comparisons[choice.challenger],
            broken_guards=choice.broken_guards,
        )
        scores = ModelScores(dataset, scored[choice.challenger], scored.get(self.name), scored)
        action, verdict = decide_promotion(contest, lambda: scores, self._policy)
        if action == "promoted":
            self.champion = challenger
        self.decisions.append(
            ReplayedDecision(
                as_of=dataset.record.as_of,
                challenger=choice.challenger,
                action=action,
                champion=self.champion.record.family if self.champion else None,
                champion_as_of=self.champion.record.as_of if self.champion else None,
                reasons=verdict.reasons if verdict else (IS_CHAMPION,),
            )
        )
