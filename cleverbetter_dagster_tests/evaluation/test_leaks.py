"""Near-perfect ranking is called a leak, by a single feature or by a model."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.evaluation.leaks import believable_auc, feature_aucs, strongest_feature

RNG = np.random.default_rng(0)
LABEL = (RNG.random(400) < 0.3).astype(int)
HONEST = pd.DataFrame({"hint": LABEL + RNG.normal(0, 1.5, 400), "tied": RNG.integers(0, 3, 400), "flat": 1.0})


def test_each_feature_has_the_auc_of_scikit_learn() -> None:
    aucs = feature_aucs(HONEST.assign(against=-HONEST["hint"]), LABEL)
    for name in HONEST:
        auc = roc_auc_score(LABEL, HONEST[name])
        assert aucs[name] == pytest.approx(max(auc, 1 - auc))
    assert aucs["against"] == pytest.approx(aucs["hint"])
    assert aucs["flat"] == 0.5


def test_honest_features_pass() -> None:
    assert strongest_feature(HONEST, LABEL).passed


@pytest.mark.parametrize("leak", [LABEL * 1.0, -LABEL * 5.0, np.where(LABEL == 1, np.nan, 0.3)])
def test_a_planted_feature_that_knows_the_outcome_is_named(leak: np.ndarray) -> None:
    outcome = strongest_feature(HONEST.assign(ml_next_profit=leak), LABEL)
    assert not outcome.passed
    assert "ml_next_profit" in outcome.message
    assert outcome.facts["highest_auc"] == 1.0


def test_equal_labels_are_no_leak() -> None:
    assert strongest_feature(HONEST, np.zeros(400)).passed


def test_a_model_near_perfection_is_a_leak() -> None:
    assert believable_auc(0.76).passed
    assert believable_auc(None).passed
    assert not believable_auc(0.951).passed
