"""The family `rl_agent`: a calibrated probability, and an agent that says how much of its Kelly stake to place.

What sees what, with validation later than train:

    step                            fitted or trained on                 judged or calibrated on
    1 probability, fold by fold     labels of train before the fold      folds before the fold
    2 hurdle, scaling of features   rows of train seen in step 1         -
    3 agents, several seeds         those with an edge, as a world       -
    4 choice of one agent           -                                    validation, as predicted by train alone
    5 probability for later rows    train and validation                 validation, as predicted by train alone

An agent that is worth no more than doing nothing in step 4 is not used: every stake is then 0. When a row is scored,
the agent sees it as its first decision, with neutral own play: nothing won, lost or committed yet. That keeps rows
independent of each other. Whoever stakes the rows of one decision time together gives `kelly_share` to
`decisions.joint_stakes`, as step 4 does; `stake` is what can be said of a row alone, its share of a Kelly stake that
pays the price of bankroll that was usual in the past.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from cleverbetter_dagster.betting.segments import FloatArray
from cleverbetter_dagster.betting.staking import StakingSpec, return_moments
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.agent_features import AgentFeatures
from cleverbetter_dagster.learning.agent_policy import AgentPolicy
from cleverbetter_dagster.learning.agent_probability import (
    ForwardProbability,
    ForwardView,
    ProbabilitySpec,
    common_score,
    learn_forward,
)
from cleverbetter_dagster.learning.agent_training import (
    Agent,
    AgentSpec,
    Worth,
    best_agent,
    shares_of,
    train_agents,
    worth_of_returns,
)
from cleverbetter_dagster.learning.betting_world import WorldSpec
from cleverbetter_dagster.learning.decisions import Decisions, KellyMenu, first_of_times, joint_stakes
from cleverbetter_dagster.learning.family import (
    CONFIDENCE,
    PROBABILITY,
    SCORE,
    FittedModel,
    Params,
    Report,
    feature_matrix,
    require_order,
)

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

STAKE = "stake"
KELLY_SHARE = "kelly_share"
"""The agent's choice: share of the full Kelly stake, 0, 0.1, ..., 1."""
LARGEST_SPREAD = 0.5
"""Standard deviation of two probabilities of which one is 0 and one is 1: none is larger."""


class RlAgentParams(AgentSpec, ProbabilitySpec):
    """Hyperparameters of the agent and of the probability it is given."""

    learning_rate: float = Field(1e-3, gt=0, le=1, description="step of the agent's optimiser")
    boosting_rate: float = Field(0.04, gt=0, le=1, description="step of each boosting round of the probability")
    episode_times: int = Field(12, ge=1, description="decision times an episode lasts")
    max_stake_fraction: float = Field(0.05, gt=0, le=1, description="most of the bankroll one strategy may get")
    max_total_fraction: float = Field(1.0, gt=0, le=1, description="most of it all strategies of one time may get")

    @property
    def probability(self) -> ProbabilitySpec:
        """The probability's part."""
        own = self.model_dump(include=set(ProbabilitySpec.model_fields))
        return ProbabilitySpec(**(own | {"learning_rate": self.boosting_rate}))

    @property
    def world(self) -> WorldSpec:
        """The rules the agents are trained by."""
        return WorldSpec(
            reward=self.reward, max_total_fraction=self.max_total_fraction, episode_times=self.episode_times
        )

    @property
    def staking(self) -> StakingSpec:
        """The bounds; the whole Kelly stake, since the agent takes its share of it."""
        return StakingSpec(
            kelly_fraction=1.0,
            max_stake_fraction=self.max_stake_fraction,
            max_total_fraction=self.max_total_fraction,
        )


@dataclass(frozen=True, eq=False)
class FittedRlAgent(FittedModel):
    """A fitted agent. `score` is the probability before calibration, `stake` a fraction of the bankroll."""

    family = "rl_agent"

    feature_names: tuple[str, ...]
    forecast: ForwardProbability
    features: AgentFeatures
    agents: tuple[Agent, ...]
    """The best checkpoint of every seed."""
    chosen: Agent | None
    """The one that stakes; None stakes nothing."""

    def _describe(self, values: np.ndarray) -> dict[str, np.ndarray]:
        opinions = self.forecast.opinions(values)
        probability = self.forecast.of(opinions)
        share = self._share(self.chosen, values, probability)
        return {
            PROBABILITY: probability,
            SCORE: common_score(opinions),
            CONFIDENCE: 1.0 - opinions.std(axis=1) / LARGEST_SPREAD,
            KELLY_SHARE: share,
            STAKE: share * self.features.menu.full(*self.features.moments(values, probability)),
        }

    def agent_shares(self, X: pd.DataFrame) -> pd.DataFrame:
        """`kelly_share` of every agent, chosen or not: one column per seed, index of `X`; for judging over seeds.

        Raises:
            LearningError: a feature is missing or infinite.
        """
        values = feature_matrix(X, self.feature_names)
        probability = self.describe(X)[PROBABILITY].to_numpy()
        shares = {agent.seed: self._share(agent, values, probability) for agent in self.agents}
        return pd.DataFrame(shares, index=X.index)

    def _share(self, agent: Agent | None, values: FloatArray, probability: FloatArray) -> FloatArray:
        if agent is None:
            return np.zeros(len(values))
        return shares_of(agent.policy, self.features.seen(values, probability))

    def feature_importance(self) -> pd.Series:
        """Mean of the learners' own shares in the probability: gain in boosting, absolute weight in the line."""
        shares = np.zeros(len(self.feature_names))
        for learner in self.forecast.learners.values():
            importance = learner.importance()
            if importance is not None and importance.sum() > 0:
                shares += importance / importance.sum()
        total = shares.sum()
        return pd.Series(shares / total if total > 0 else 1 / len(shares), index=list(self.feature_names))

    def report(self) -> Report:
        worths = [agent.worth for agent in self.agents] or [0.0]
        return {
            "agents": len(self.agents),
            "agent_worth_best": max(worths),
            "agent_worth_median": float(np.median(worths)),
            "agent_worth_worst": min(worths),
            "agent_stakes": "nothing" if self.chosen is None else "chosen agent",
            "agent_seed": -1 if self.chosen is None else self.chosen.seed,
            "agent_steps_trained": 0 if self.chosen is None else self.chosen.steps_trained,
            "hurdle": self.features.menu.hurdle,
            "calibration_method": self.forecast.calibrator.method,
            "calibration_rows": self.forecast.calibrator.rows,
        }


class RlAgent:
    """The family `rl_agent`; see the module for what each of its parts is allowed to see."""

    name = "rl_agent"
    title = "Reinforcement-learning staker"
    description = (
        "Agents trained with PPO in a betting world made of past rows choose how much of the Kelly stake on a "
        "calibrated probability to place; later rows decide which agent is used, or that none is."
    )

    def default_params(self) -> dict[str, Any]:
        """The fields of `RlAgentParams`, each at its default.

        >>> RlAgent().default_params()["agents"]
        5
        """
        return RlAgentParams().model_dump()

    def suggest(self, trial: "BaseTrial") -> dict[str, Any]:
        """Learning rate, discount, reward weights, and what moves the probability."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 5e-3, log=True),
            "discount": trial.suggest_float("discount", 0.0, 0.99),
            "drawdown_weight": trial.suggest_float("drawdown_weight", 0.01, 1.0, log=True),
            "risk_weight": trial.suggest_float("risk_weight", 0.0, 5.0),
            "n_estimators": trial.suggest_int("n_estimators", 50, 500, log=True),
            "boosting_rate": trial.suggest_float("boosting_rate", 0.01, 0.2, log=True),
            "max_depth": trial.suggest_int("max_depth", 2, 8),
            "logistic_c": trial.suggest_float("logistic_c", 1e-4, 1.0, log=True),
        }

    def fit(self, train: Examples, validation: Examples, params: Params, seed: int, threads: int) -> FittedRlAgent:
        """Fit the five steps of the module's table.

        Raises:
            LearningError: as `Family.fit`; also where the labels before a fold are of one class.
            NotEnoughRows: train holds fewer than two distinct decision times.
        """
        chosen = _checked(params)
        require_order(train, validation)
        names = tuple(train.X.columns)
        earlier, later, forecast = learn_forward(train, validation, chosen.probability, seed, threads)
        features = _features(earlier, names, chosen.staking)
        history = _history(earlier, features)
        agents = (
            []
            if history is None
            else train_agents(history, _worth(later, features, chosen), chosen, chosen.world, seed)
        )
        return FittedRlAgent(names, forecast, features, tuple(agents), best_agent(agents))


def _features(view: ForwardView, names: tuple[str, ...], staking: StakingSpec) -> AgentFeatures:
    frame = view.examples.frame
    moments = return_moments(view.probability, frame[SHRUNK_GAIN], frame[SHRUNK_LOSS])
    menu = KellyMenu.fit(*moments, view.examples.decision_time.nunique(), staking)
    return AgentFeatures.fit(feature_matrix(view.examples.X, names), names, menu)


def _history(view: ForwardView, features: AgentFeatures) -> Decisions | None:
    """The rows with an edge, in which there is something to decide; None where no row has one."""
    values = feature_matrix(view.examples.X, features.names)
    kelly = features.menu.without_hurdle.full(*features.moments(values, view.probability))
    edge = np.flatnonzero(kelly > 0)
    if not len(edge):
        return None
    first = first_of_times(view.examples.decision_time.iloc[edge])
    seen = features.seen(values[edge], view.probability[edge])
    return Decisions(seen, kelly[edge], view.examples.next_roi[edge], first)


def _worth(view: ForwardView, features: AgentFeatures, params: RlAgentParams) -> Worth:
    """Growth and drawdown of a policy's stakes on the rows of `view`, those of one time staked together."""
    values = feature_matrix(view.examples.X, features.names)
    seen, moments = features.seen(values, view.probability), features.moments(values, view.probability)
    first = first_of_times(view.examples.decision_time)
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(values))))

    def worth(policy: AgentPolicy) -> float:
        stake = joint_stakes(shares_of(policy, seen), moments, group, params.staking)
        earned = np.maximum(np.add.reduceat(stake * view.examples.next_roi, first), -1.0)
        return worth_of_returns(earned, params.drawdown_weight)

    return worth


def _checked(params: Params) -> RlAgentParams:
    try:
        return RlAgentParams.model_validate(dict(params))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in error.errors()]
        known = ", ".join(RlAgentParams.model_fields)
        raise LearningError(f"Cannot use the agent's parameters: {'; '.join(lines)}. Known: {known}.") from None
