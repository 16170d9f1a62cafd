"""Where outcomes were dealt out anew there is nothing to learn: no family ranks rows, and no agent finds an edge.

Outcomes (label and next return together) are permuted over train, validation and test at once, and returns are
centred, so that neither a row nor all rows together are worth a stake.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.splits import Partition
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic, mean_statistic
from cleverbetter_dagster.evaluation.scored_rows import utc_times
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.learning.rl_agent.family import FittedRlAgent
from cleverbetter_dagster.learning.rl_agent.probability import ForwardView
from cleverbetter_dagster_tests.learning.conftest import backtest_rows, partition_of, small

PARTS = ("train", "validation", "test")


def permuted(parts: Partition, seed: int) -> Partition:
    """The same rows, each with another row's outcome."""
    rows = pd.concat([getattr(parts, name).frame for name in PARTS], keys=PARTS)
    order = np.random.default_rng(seed).permutation(len(rows))
    label, roi = rows["label"].to_numpy()[order], rows["next_roi"].to_numpy()[order]
    dealt = rows.assign(label=label, next_roi=roi - roi.mean())
    return replace(parts, **{name: Examples(dealt.loc[name]) for name in PARTS})


@pytest.fixture(scope="module")
def honest() -> Partition:
    return partition_of(backtest_rows(strategies=100, months=36))


@pytest.fixture(scope="module")
def dealt(honest: Partition) -> Partition:
    return permuted(honest, 0)


def fitted(name: str, parts: Partition, seed: int = 0) -> FittedModel:
    return FAMILIES[name].fit(parts.train, parts.validation, small(name), seed, 1)


def auc(model: FittedModel, test: Examples) -> float:
    return float(roc_auc_score(test.y, model.predict_proba(test.X)[:, 1]))


def deviation(test: Examples) -> float:
    """Standard deviation of the AUC of a score that knows nothing (Mann and Whitney, 1947)."""
    positive, n = int(test.y.sum()), len(test)
    return float(np.sqrt((n + 1) / (12.0 * positive * (n - positive))))


def holds_a_half(model: FittedModel, test: Examples) -> bool:
    bootstrap = BlockBootstrap(pd.DatetimeIndex(test.decision_time))
    interval = bootstrap.interval(auc_statistic(bootstrap, test.y, model.predict_proba(test.X)[:, 1]))
    return interval.ends is not None and interval.low <= 0.5 <= interval.high


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_ranks_rows_whose_outcomes_are_anothers(name, dealt):
    model = fitted(name, dealt)
    assert abs(auc(model, dealt.test) - 0.5) < 3 * deviation(dealt.test)
    assert holds_a_half(model, dealt.test)
    # Nor is it sure of anything.
    assert model.predict_proba(dealt.test.X)[:, 1].std() < 0.05


def test_a_model_that_saw_the_test_rows_is_noticed(dealt):
    known = pooled(dealt.train, dealt.validation)
    model = fitted("ensemble", replace(dealt, train=known, validation=dealt.test))
    assert auc(model, dealt.test) > 0.5 + 6 * deviation(dealt.test)
    assert not holds_a_half(model, dealt.test)


def growth(model: FittedModel, test: Examples) -> Estimate:
    """Log growth per round of the model's own stakes, with its interval over months."""
    assert isinstance(model, FittedRlAgent)
    decisions = model.features.decisions(ForwardView(test, model.predict_proba(test.X)[:, 1]))
    share = model.chosen.shares(decisions.features) if model.chosen else np.zeros(len(decisions))
    bootstrap = BlockBootstrap(utc_times(decisions.time[decisions.first]))
    earned = np.log1p(decisions.returns_of(share, model.params.staking))
    growth_rate = bootstrap.mean_interval(mean_statistic(bootstrap, earned))
    assert growth_rate.ends is not None
    return growth_rate


def test_the_staker_earns_nothing_where_there_is_no_edge(honest, dealt):
    """Luck on a few months of validation may have it stake; what it then earns is nothing beside a real edge."""
    real, none = (growth(fitted("rl_agent", parts), parts.test) for parts in (honest, dealt))
    assert real.low > 0
    assert none.low <= 0
    assert none.point < 0.1 * real.point


def test_a_feature_that_tells_the_outcome_is_noticed(dealt):
    parts = {name: getattr(dealt, name).frame for name in PARTS}
    leaking = {name: Examples(frame.assign(ml_avg_odds=frame["label"])) for name, frame in parts.items()}
    model = fitted("rl_agent", replace(dealt, **leaking))
    assert not holds_a_half(model, leaking["test"])
    assert growth(model, leaking["test"]).low > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_does_so_on_average_over_many_deals(name, honest):
    deals = [permuted(honest, seed) for seed in range(1, 13)]
    aucs = [auc(fitted(name, deal, seed), deal.test) for seed, deal in enumerate(deals)]
    assert abs(np.mean(aucs) - 0.5) < 3 * deviation(honest.test) / np.sqrt(len(deals))
