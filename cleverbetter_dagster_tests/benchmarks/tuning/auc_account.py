"""What AUC the test rows allow: the tuned model beside forecasters that know what none may know at the decision.

None of them is a model to use. `other months`: the ensemble's members, fitted anew for each test month on the outcomes
of all months but that one, later ones included; what it gains is what the past could not tell. `other test months`:
the same without any month before the test. `line`: logistic regression fitted on the very rows it is judged on.
`ceiling`: whoever knows every strategy's true chance of a profitable window, were it the same in all test months,
in worlds drawn from what the outcomes say about those chances.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.optimize import minimize
from scipy.stats import betabinom
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.schema import METHOD, STRATEGY
from cleverbetter_dagster.dataset.splits import Partition
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic
from cleverbetter_dagster.learning.ensemble.base_learners import LogisticLearner, learner_seeds
from cleverbetter_dagster.learning.ensemble.family import FittedEnsemble
from cleverbetter_dagster.learning.ensemble.members import fit_members
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster.learning.model import feature_matrix

TARGET = 0.75
WORLDS = 200
"""Draws of all strategies' chances and outcomes."""


@dataclass(frozen=True)
class Forecast:
    """How a forecaster does on the test rows, and which outcomes it was shown."""

    forecaster: str
    shown: str
    auc: Estimate


def account(parts: Partition, model: FittedEnsemble, params: EnsembleParams) -> list[Forecast]:
    """All forecasters on the test rows; the tuned model first, the ceiling last."""
    test = parts.test
    everything = pooled(pooled(parts.train, parts.validation), test)
    bootstrap = BlockBootstrap(pd.DatetimeIndex(test.decision_time))

    def judged(forecaster: str, shown: str, probability: np.ndarray) -> Forecast:
        return Forecast(forecaster, shown, bootstrap.interval(auc_statistic(bootstrap, test.y, probability)))

    return [
        judged("tuned ensemble", "train and validation", model.predict_proba(test.X)[:, 1]),
        judged("other months", "all months but the one judged", _of_others(everything, test, model, params)),
        judged("other test months", "test months but the one judged", _of_others(test, test, model, params)),
        judged("line", "the rows judged", _line(test, params)),
        Forecast("ceiling", "every strategy's own chance", ceiling(test)),
    ]


def _of_others(known: Examples, test: Examples, model: FittedEnsemble, params: EnsembleParams) -> np.ndarray:
    """P of each test row by members fitted on the `known` rows of other months, weighed as `model` weighs its own."""
    month_known, month = (part.decision_time.dt.strftime("%Y-%m").to_numpy() for part in (known, test))
    probabilities = np.empty(len(test))
    for one in np.unique(month):
        others, rows = known.take(np.flatnonzero(month_known != one)), np.flatnonzero(month == one)
        names = model.feature_names
        learners = fit_members(feature_matrix(others.X, names), others.y, names, params, learner_seeds(0), 1)
        probabilities[rows] = replace(model, learners=learners).predict_proba(test.take(rows).X)[:, 1]
    return probabilities


def _line(test: Examples, params: EnsembleParams) -> np.ndarray:
    values = feature_matrix(test.X, tuple(test.X.columns))
    learner = LogisticLearner(params, 0, 1)
    learner.fit(values, test.y)
    return learner.probability(values)


def ceiling(test: Examples) -> Estimate:
    """Mean and 95% range, over drawn worlds, of the AUC of the true chances.

    A strategy's chance is the same in every month: its profitable windows are binomial. Chances are spread as a beta
    distribution whose two parameters make the counts likeliest. In a world each chance is drawn from its posterior, and
    outcomes from the chances.
    """
    strategy = test.frame.groupby([STRATEGY, METHOD]).ngroup().to_numpy()
    windows, wins = np.bincount(strategy), np.bincount(strategy, test.y).astype(int)
    fit = minimize(lambda log: -betabinom.logpmf(wins, windows, *np.exp(log)).sum(), [0.0, 0.0], method="Nelder-Mead")
    a, b = np.exp(fit.x)
    rng = np.random.default_rng(0)
    chances = rng.beta(a + wins, b + windows - wins, (WORLDS, len(wins)))[:, strategy]
    outcomes = rng.random(chances.shape) < chances
    aucs = [roc_auc_score(outcome, chance) for outcome, chance in zip(outcomes, chances, strict=True)]
    low, high = np.quantile(aucs, [0.025, 0.975])
    return Estimate(point=float(np.mean(aucs)), low=float(low), high=float(high), level=0.95)


def shown(forecasts: list[Forecast], test: Examples) -> Table:
    """The account, for a person; its last word is on the target."""
    months = test.decision_time.dt.strftime("%Y-%m").nunique()
    title = f"AUC on {len(test):,} test rows of {months} months; 95% intervals over months, the ceiling's over worlds"
    table = Table(title=title, title_justify="left", caption=verdict(forecasts), caption_justify="left")
    for head in ("forecaster", "was shown the outcomes of", "AUC", f"{TARGET} is"):
        table.add_column(head)
    for one in forecasts:
        table.add_row(one.forecaster, one.shown, str(one.auc), _where(one.auc))
    return table


def verdict(forecasts: list[Forecast]) -> str:
    """Whether the target was reached, and by which of those that know too much."""
    reached = [one.forecaster for one in forecasts if (one.auc.point or 0.0) >= TARGET]
    tuned, *others = forecasts
    if tuned.forecaster in reached:
        return f"AUC {TARGET} is reached by the tuned ensemble."
    by = f"only by {', '.join(reached)}" if reached else "by none"
    return f"AUC {TARGET} is not reached by the tuned ensemble; of the {len(others)} that know what it may not, {by}."


def _where(auc: Estimate) -> str:
    if auc.ends is None:
        return "-"
    low, high = auc.ends
    if low <= TARGET <= high:
        return "within the interval"
    return "passed" if low > TARGET else "out of reach"
