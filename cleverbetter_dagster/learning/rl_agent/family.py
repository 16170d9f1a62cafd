"""The family `rl_agent`: a calibrated probability, and an agent that says how much of its Kelly stake to place.

What each step sees. Validation is later than train:

    step                            fitted or trained on                 judged or calibrated on
    1 probability, fold by fold     labels of train before the fold      folds before the fold
    2 scaling of features           rows of train seen in step 1         -
    3 agents, several seeds         those with an edge, as an environment       -
    4 choice of one agent           -                                    validation, as predicted by train alone
    5 probability for later rows    train and validation                 validation, as predicted by train alone

An update starts from these and adds new rows. Of them, the unseen ones were decided when every label the model knows
was known:

    step                            takes in                             judged or calibrated on
    6 probability                   all new rows                         unseen rows, for as many of the oldest
    7 agents, which go on           rows that leave step 8, rehearsing   as step 8
                                    all they ever played
    8 choice of one agent           -                                    the newest rows, unseen ones included, as
                                                                         predicted before; as many times as in step 4

An agent that is worth no more than doing nothing in step 4 is not used: the model then stakes nothing. To score a row,
the agent sees it as its first decision, with nothing won, lost or staked yet, so that rows stay independent of each
other. Its output is `kelly_share`; `betting.staking.allocate` makes stakes of it for the rows of one round
together, as in step 4.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.learning.calibration import CALIBRATOR_TYPES, calibration_facts
from cleverbetter_dagster.learning.ensemble.base_learners import shares_of_features
from cleverbetter_dagster.learning.ensemble.stored_types import LEARNER_TYPES
from cleverbetter_dagster.learning.family import (
    Family,
    checked_params,
    latest_label,
    require_order,
    require_update,
    unseen,
)
from cleverbetter_dagster.learning.model import (
    KELLY_SHARE,
    PROBABILITY,
    FittedModel,
    Params,
    Report,
    feature_matrix,
    prediction_columns,
)
from cleverbetter_dagster.learning.rl_agent.decisions import Decisions
from cleverbetter_dagster.learning.rl_agent.features import AgentFeatures
from cleverbetter_dagster.learning.rl_agent.params import RlAgentParams
from cleverbetter_dagster.learning.rl_agent.policy import AgentPolicy
from cleverbetter_dagster.learning.rl_agent.probability import (
    ForwardProbability,
    ForwardView,
    common_score,
    learn_forward,
)
from cleverbetter_dagster.learning.rl_agent.scorer import AgentScorer
from cleverbetter_dagster.learning.rl_agent.training import Agent, best_agent, refresh_agents, train_agents
from cleverbetter_dagster.learning.scoring import PROBABILITY_METRICS, StudySpec
from cleverbetter_dagster.learning.thread_limits import at_most

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True, eq=False)
class FittedRlAgent(FittedModel):
    """A fitted agent. `score` is the probability before calibration.

    Attributes:
        played: what the agents' environments were made of.
        judged: the later rows they were chosen by.
        agents: of every seed what is worth most; none where no row had an edge.
    """

    family = "rl_agent"

    feature_names: tuple[str, ...]
    params: RlAgentParams
    forecast: ForwardProbability
    features: AgentFeatures
    played: Decisions
    judged: Decisions
    agents: tuple[Agent, ...]
    known_until: pd.Timestamp
    updated_rows: int = 0

    @property
    def chosen(self) -> Agent | None:
        """The agent that stakes; None stakes nothing."""
        return best_agent(self.agents)

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        opinions = self.forecast.opinions(values)
        probability = self.forecast.of(opinions)
        shares = self._shares(self.chosen, values, probability)
        return {**prediction_columns(probability, common_score(opinions), opinions), KELLY_SHARE: shares}

    def agent_shares(self, X: pd.DataFrame) -> pd.DataFrame:
        """`kelly_share` of every agent, chosen or not, one column a seed; 0 from an agent worth nothing."""
        values = feature_matrix(X, self.feature_names)
        probability = self.predict_frame(X)[PROBABILITY].to_numpy()
        shares = {f"seed {agent.seed}": self._shares(agent, values, probability) for agent in self.agents}
        return pd.DataFrame(shares, index=X.index)

    def _shares(self, agent: Agent | None, values: FloatArray, probability: FloatArray) -> FloatArray:
        if agent is None:
            return np.zeros(len(values))
        return agent.shares(self.features.seen(values, probability))

    def feature_importance(self) -> pd.Series:
        """Plain mean of the learners' own shares in the probability."""
        learners = self.forecast.learners
        return shares_of_features(learners, [1.0] * len(learners), self.feature_names)

    def report(self) -> Report:
        worths, chosen = [agent.worth for agent in self.agents] or [0.0], self.chosen
        return {
            "agents": len(self.agents),
            "agent_worth_best": max(worths),
            "agent_worth_median": float(np.median(worths)),
            "agent_worth_worst": min(worths),
            "agent_stakes": "chosen agent" if chosen else "nothing",
            "agent_seed": chosen.seed if chosen else -1,
            "agent_steps_trained": chosen.steps_trained if chosen else 0,
            "played_rows": len(self.played),
            "judged_rows": len(self.judged),
            **calibration_facts(self.forecast.calibrator, self.updated_rows),
        }


class RlAgent(Family):
    """The family `rl_agent`; the module's table says what each part may see."""

    name = "rl_agent"
    title = "Reinforcement-learning staker"
    description = (
        "Agents trained with PPO in betting environments made of past rows choose how much of the Kelly stake on a "
        "calibrated probability to place; later rows decide which agent is used, or that none is."
    )

    params_model = RlAgentParams
    stored_types = (
        FittedRlAgent,
        RlAgentParams,
        ForwardProbability,
        AgentFeatures,
        StakingSpec,
        Decisions,
        Agent,
        AgentPolicy,
        *LEARNER_TYPES,
        *CALIBRATOR_TYPES,
    )
    study_metrics = (*PROBABILITY_METRICS, "growth")
    study_defaults = MappingProxyType({"metric": "growth", "n_trials": 20, "timeout_seconds": 300})
    demo_study = MappingProxyType({"n_trials": 0, "n_folds": 1, "params": {"total_steps": 16_384}})

    def scorer(self, examples: Examples, spec: StudySpec) -> AgentScorer:
        """Learns the probability once a fold, and trains fewer and shorter agents."""
        return AgentScorer(examples, spec, anchor={**self.default_params(), **spec.params})

    def suggest(self, trial: "BaseTrial") -> dict[str, Any]:
        """Learning rate, discount and the reward's weights: what moves stakes, not the probability."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "discount": trial.suggest_float("discount", 0.0, 0.99),
            "drawdown_weight": trial.suggest_float("drawdown_weight", 0.01, 1.0, log=True),
            "risk_weight": trial.suggest_float("risk_weight", 0.0, 5.0),
        }

    def fit(self, train: Examples, validation: Examples, params: Params, seed: int, threads: int) -> FittedRlAgent:
        """Fit the five steps of the module's table; raises as `Family.fit` and `learn_forward`."""
        chosen = checked_params(RlAgentParams, params, self.name)
        require_order(train, validation)
        names = tuple(train.X.columns)
        earlier, later, forecast = learn_forward(train, validation, chosen, seed, threads)
        features = AgentFeatures.fit(feature_matrix(earlier.examples.X, names), names, chosen.staking)
        played, judged = features.decisions(earlier), features.decisions(later)
        agents, known_until = train_agents(played, judged, chosen, seed), latest_label(train, validation)
        return FittedRlAgent(names, chosen, forecast, features, played, judged, agents, known_until)

    def update(self, model: FittedModel, new: Examples, past: Examples, seed: int, threads: int) -> FittedRlAgent:  # noqa: ARG002 - one thread suffices
        """Take the last three steps of the module's table; what the agents rehearse is in the model, not in `past`."""
        before = require_update(FittedRlAgent, model, new, past)
        with at_most(1):
            return self._updated(before, new, seed)

    def _updated(self, before: FittedRlAgent, new: Examples, seed: int) -> FittedRlAgent:
        values, ahead = feature_matrix(new.X, before.feature_names), unseen(before, new)
        ahead = ahead[np.argsort(new.decision_time.to_numpy()[ahead], kind="stable")]
        forecast, judged, played = before.forecast.updated(values, new.y, ahead), before.judged, before.played
        if len(ahead):
            probability = before.forecast.of(before.forecast.opinions(values[ahead]))
            fresh = before.features.decisions(ForwardView(new.take(ahead), probability))
            moved, judged = judged.joined(fresh).cut(len(judged.first))
            played = played.joined(moved)
        agents = refresh_agents(before.agents, played, judged, before.params, seed)
        return replace(
            before,
            forecast=forecast,
            played=played,
            judged=judged,
            agents=agents,
            known_until=max(before.known_until, latest_label(new)),
            updated_rows=before.updated_rows + len(new),
        )
