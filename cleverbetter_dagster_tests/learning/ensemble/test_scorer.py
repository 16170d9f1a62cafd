import numpy as np
import pytest
from sklearn.metrics import log_loss

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.ensemble import scorer as module
from cleverbetter_dagster.learning.ensemble.base_learners import BASE_LEARNERS, LightGBMLearner
from cleverbetter_dagster.learning.ensemble.family import Ensemble
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster.learning.ensemble.scorer import StackScorer
from cleverbetter_dagster.learning.scoring import FitScorer, FoldScores, StudySpec
from cleverbetter_dagster_tests.learning.conftest import SMALL

SPEC = StudySpec(n_folds=2)
ANCHOR = Ensemble().default_params() | SMALL["ensemble"]


@pytest.fixture(scope="module")
def past(partition) -> Examples:
    return pooled(partition.train, partition.validation)


@pytest.fixture
def scorer(past) -> StackScorer:
    return StackScorer(past, SPEC, ANCHOR)


def test_cheap_scores_are_near_those_of_full_fits(scorer, past):
    cheap, full = scorer.score(ANCHOR), FitScorer(Ensemble().fit, past, SPEC).score(ANCHOR)
    assert cheap.rows == full.rows
    np.testing.assert_allclose(cheap.auc, full.auc, atol=0.02)
    np.testing.assert_allclose(cheap.brier, full.brier, atol=0.02)


def test_its_booster_is_the_learner_the_ensemble_fits(scorer, past):
    params = EnsembleParams(**ANCHOR)
    booster, curve = scorer._boost(0, params, None)
    fit, score = scorer.folds[0]
    X = past.X.to_numpy()
    learner = LightGBMLearner(params, SPEC.seed, 1)
    learner.model.set_params(feature_pre_filter=False)  # drops features no leaf could split, and so other draws
    learner.fit(X[fit], past.y[fit])
    np.testing.assert_array_equal(booster.predict(X[score]), learner.probability(X[score]))
    assert curve[-1] == pytest.approx(log_loss(past.y[score], learner.probability(X[score])))


def test_a_trial_fits_again_only_what_it_changed(scorer, monkeypatch):
    fits: list[str] = []
    for name in ("forest", "logistic"):
        make = BASE_LEARNERS[name]
        counted = lambda *how, name=name, make=make: fits.append(name) or make(*how)  # noqa: E731
        monkeypatch.setitem(module.BASE_LEARNERS, name, counted)
    scorer.score(ANCHOR)
    assert sorted(fits) == ["forest", "forest", "logistic", "logistic"]
    scorer.score({**ANCHOR, "max_depth": 5, "l2": 1.0})
    scorer.score({**ANCHOR, "forest_leaf_rows": 22, "logistic_c": 0.006})
    assert len(fits) == 4
    scorer.score({**ANCHOR, "logistic_c": 1.0})
    assert fits[4:] == ["logistic", "logistic"]


def test_cached_members_give_the_scores_of_a_fresh_scorer(scorer, past):
    scorer.score({**ANCHOR, "max_depth": 6, "forest_leaf_rows": 80})
    assert scorer.score(ANCHOR) == StackScorer(past, SPEC, ANCHOR).score(ANCHOR)


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_each_fold_but_the_last_reports_the_mean_so_far(past, metric):
    reports: list[tuple[int, float]] = []
    scorer = StackScorer(past, StudySpec(n_folds=3, metric=metric), ANCHOR)
    scores = getattr(scorer.score(ANCHOR, on_fold=lambda fold, value: reports.append((fold, value))), metric)
    assert reports == [(0, pytest.approx(scores[0])), (1, pytest.approx(np.mean(scores[:2])))]


def test_rounds_minimise_the_mean_loss_of_the_folds(scorer):
    asked = {**ANCHOR, "n_estimators": 300, "learning_rate": 0.3, "max_depth": 6}
    settled = scorer.score(asked, ranges={"n_estimators": (5, 300)})
    rounds = settled.chosen["n_estimators"]
    assert 5 <= rounds < 300
    given = scorer.score({**asked, "n_estimators": rounds})
    assert settled.auc == given.auc
    assert settled.mean("log_loss") < scorer.score({**asked, "n_estimators": 300}).mean("log_loss")


def test_rounds_are_never_fewer_than_their_range_allows(scorer):
    asked = {**ANCHOR, "n_estimators": 90, "learning_rate": 0.5, "max_depth": 6}
    free, bound = (scorer.score(asked, ranges={"n_estimators": (low, 90)}) for low in (1, 40))
    assert free.chosen["n_estimators"] < 40 <= bound.chosen["n_estimators"]


def gap(scores: FoldScores) -> float:
    return scores.mean("train_auc") - scores.mean("auc")


def test_a_memorising_setting_has_the_wider_gap(scorer):
    rich = {**ANCHOR, "n_estimators": 200, "max_depth": 10, "min_leaf_rows": 2, "l2": 0.0, "learning_rate": 0.3}
    assert gap(scorer.score(rich)) > gap(scorer.score(ANCHOR)) + 0.05


def test_no_meta_learner_sees_an_outcome_unknown_yet(scorer):
    fit, _ = scorer.folds[1]
    _, score = scorer.folds[0]
    opinions = [np.random.default_rng(0).normal(size=(len(score), 4))]
    before = scorer._meta(opinions, fit, EnsembleParams(**ANCHOR))
    unknown = ~np.isin(score, fit)
    opinions[0][unknown] = 1e3
    assert scorer._meta(opinions, fit, EnsembleParams(**ANCHOR)) == before


def test_an_impossible_parameter_is_an_error_that_names_it(scorer):
    with pytest.raises(LearningError, match="l2"):
        scorer.score({**ANCHOR, "l2": -1.0})
