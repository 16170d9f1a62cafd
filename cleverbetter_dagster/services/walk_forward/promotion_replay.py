"""The promotion policy replayed over past months in memory: no ledger, no registry, the same gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, judge
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.learning.family import FittedModel
from cleverbetter_dagster.services.evaluation.scored_table import scored_frame, scored_rows
from cleverbetter_dagster.services.walk_forward.records import ReplayedDecision


@dataclass(frozen=True)
class ReplayedChampion:
    """The model that stands, and the month it stands at."""

    family: str
    as_of: str
    fitted: FittedModel


class Replay:
    """What would have become of the champion, month by month, had only some families taken part.

    Args:
        name: for people.
        families: that may challenge; of those with a model of a month, the one with the lowest Brier score does.
        policy: what the challenger has to show.
    """

    def __init__(self, name: str, families: Sequence[str], policy: PromotionPolicy) -> None:
        self.name = name
        self.champion: ReplayedChampion | None = None
        self.decisions: list[ReplayedDecision] = []
        self._families = families
        self._policy = policy

    def decide(
        self, as_of: str, test: Examples, scored: Mapping[str, ScoredRows], models: Mapping[str, FittedModel]
    ) -> None:
        """Judge the challenger of the next month in order of time, as `services.promotion.decide` would have.

        Args:
            as_of: later than that of the decision before.
            test: test rows of the as_of, labelled by its end.
            scored: the same rows as scored by each of `models` and every baseline.
            models: by family.
        """
        present = [family for family in self._families if family in models]
        if not present:
            return
        challenger = min(present, key=lambda family: _brier(scored[family]))
        standing = self.champion
        verdict = judge(
            scored[challenger],
            None if standing is None else _scored_by(standing, test),
            {name: scored[name] for name in BASELINES},
            self._policy,
        )
        if verdict.promote:
            self.champion = ReplayedChampion(challenger, as_of, models[challenger])
        self.decisions.append(
            ReplayedDecision(
                as_of=as_of,
                challenger=challenger,
                promoted=verdict.promote,
                champion=self.champion.family if self.champion else None,
                champion_as_of=self.champion.as_of if self.champion else None,
                reasons=verdict.reasons,
            )
        )


def _scored_by(champion: ReplayedChampion, test: Examples) -> ScoredRows:
    return scored_rows(scored_frame("champion", test, champion.fitted.describe(test.X), StakingSpec()))


def _brier(rows: ScoredRows) -> float:
    return float(np.mean(brier_terms(rows.label, rows.probability)))
