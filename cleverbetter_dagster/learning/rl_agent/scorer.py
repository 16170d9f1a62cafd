"""Cheap trials of the agents: the probability is learned once a fold, and fewer agents play fewer steps.

A trial changes the agents only. The probability they are given stays, so all trials have equal scores of
probabilities. Only `growth` tells settings apart: by `auc`, `brier` or `log_loss` the defaults win, and no agent is
trained.
"""

from dataclasses import dataclass, replace

import numpy as np

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.learning.family import checked_params
from cleverbetter_dagster.learning.model import Params, feature_matrix
from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.features import AgentFeatures
from cleverbetter_dagster.learning.rl_agent.params import RlAgentParams
from cleverbetter_dagster.learning.rl_agent.probability import ForwardView, learn_forward
from cleverbetter_dagster.learning.rl_agent.training import train_agents, worth_of_returns
from cleverbetter_dagster.learning.scoring import (
    NO_RANGES,
    FoldScores,
    OneFold,
    OnFold,
    Ranges,
    StudySpec,
    fold_parts,
    never_prune,
    scores_of,
    scoring_folds,
)

TRIAL_AGENTS = 2
"""Most agents a trial trains on a fold: one alone is too much a matter of its seed."""

TRIAL_SHARE = 0.5
"""Share of the steps an agent of a trial plays."""


@dataclass(frozen=True, eq=False)
class AgentFold:
    """One fold: how the probability scores on it, and the decisions to play, to choose by and to be scored on."""

    probability: OneFold
    played: Decisions
    judged: Decisions
    scored: Decisions


class AgentScorer:
    """Scores settings of the agents.

    Args:
        examples: train and validation together.
        spec: folds, embargo, metric, seed and threads.
        anchor: the setting that gives all trials their probability: the defaults, or the values fixed by hand.

    Raises:
        NotEnoughRows, LearningError: as `scoring_folds` and `learn_forward`.
    """

    tuned_inside: frozenset[str] = frozenset()

    def __init__(self, examples: Examples, spec: StudySpec, anchor: Params) -> None:
        self.spec, self.anchor = spec, checked_params(RlAgentParams, anchor, "rl_agent")
        folds = scoring_folds(examples, spec)
        self.folds = [self._prepared(examples.take(fit), examples.take(score)) for fit, score in folds]

    def score(self, params: Params, ranges: Ranges = NO_RANGES, on_fold: OnFold = never_prune) -> FoldScores:  # noqa: ARG002
        """As `Scorer.score`."""
        trial = _shortened(checked_params(RlAgentParams, params, "rl_agent"))
        growth: tuple[float, ...] = ()
        for number, fold in enumerate(self.folds):
            if self.spec.metric == "growth":
                growth = (*growth, self._growth(fold, trial))
            scores = replace(scores_of([one.probability for one in self.folds[: number + 1]]), growth=growth)
            if number < len(self.folds) - 1:
                on_fold(number, scores.mean(self.spec.metric))
        return scores

    def _growth(self, fold: AgentFold, spec: RlAgentParams) -> float:
        """Log growth per round on the fold's own rows: the mean over agents chosen by the rows before."""
        agents = train_agents(fold.played, fold.judged, spec, self.spec.seed)
        if not agents or not len(fold.scored):
            return 0.0
        shares = [agent.shares(fold.scored.features) for agent in agents]
        return float(np.mean([worth_of_returns(fold.scored.returns_of(share, spec.staking)) for share in shares]))

    def _prepared(self, past: Examples, fold: Examples) -> AgentFold:
        train, validation = fold_parts(past, self.spec)
        names = tuple(past.X.columns)
        earlier, later, forecast = learn_forward(train, validation, self.anchor, self.spec.seed, self.spec.threads)
        features = AgentFeatures.fit(feature_matrix(earlier.examples.X, names), names, self.anchor.staking)
        known = pooled(train, validation)
        now, fitted = (forecast.of(forecast.opinions(feature_matrix(part.X, names))) for part in (fold, known))
        return AgentFold(
            OneFold(fold.y, now, known.y, fitted),
            features.decisions(earlier),
            features.decisions(later),
            features.decisions(ForwardView(fold, now)),
        )


def _shortened(params: RlAgentParams) -> RlAgentParams:
    """What a trial trains of a setting."""
    steps = max(round(TRIAL_SHARE * params.total_steps), 1)
    return params.model_copy(update={"agents": min(params.agents, TRIAL_AGENTS), "total_steps": steps})
