from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from threading import Lock
from time import sleep
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from pydantic import BaseModel
from sklearn.metrics import brier_score_loss, roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.learning.scoring import FitScorer, FoldScores, StudySpec
from cleverbetter_dagster.learning.tuning.study import IS_DEFAULT, RANGES, SCORES, StudyContext, run_study
from cleverbetter_dagster_tests.learning.conftest import small

COMPLETE = optuna.trial.TrialState.COMPLETE


class BlendModel:
    """Answers with a blend of an informative feature and a constant one."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        noise = np.sin(1e4 * X["ml_avg_odds"].to_numpy())
        score = self.weight * 20 * X["mean_roi"].to_numpy() + (1 - self.weight) * noise
        probability = 1 / (1 + np.exp(-score))
        return np.column_stack([1 - probability, probability])


class BlendParams(BaseModel):
    weight: float = 0.1
    untuned: int = 5


class Blend(Family):
    """A family of one parameter, best at 1 and poor by default; it notes what it is fitted on."""

    name = "blend"
    params_model = BlendParams

    def __init__(self) -> None:
        self.fits: list[tuple[Examples, Examples]] = []
        self.settings: set[tuple[int, int]] = set()
        self.weights: list[float] = []

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        return {"weight": trial.suggest_float("weight", 0.0, 1.0)}

    def fit(self, train: Examples, validation: Examples, params: dict, seed: int, threads: int) -> BlendModel:
        self.fits.append((train, validation))
        self.settings.add((seed, threads))
        self.weights.append(params["weight"])
        return BlendModel(params["weight"])

    def update(self, model: FittedModel, new: Examples, past: Examples, seed: int, threads: int) -> FittedModel:
        raise NotImplementedError


@pytest.fixture(scope="module")
def past(partition) -> Examples:
    return pooled(partition.train, partition.validation)


def test_a_fold_is_scored_by_the_model_of_its_past(past):
    family = Blend()
    scores = FitScorer(family.fit, past, StudySpec(n_folds=1)).score({"weight": 1.0})
    moments = past.decision_time
    fold = past.take(np.flatnonzero(moments > family.fits[0][1].decision_time.max()))
    probability = BlendModel(1.0).predict_proba(fold.X)[:, 1]
    assert scores.auc == (roc_auc_score(fold.y, probability),)
    assert scores.brier == (pytest.approx(brier_score_loss(fold.y, probability)),)
    assert scores.rows == (len(fold),)


def test_folds_lie_later_and_are_fitted_on_their_past(past):
    family = Blend()
    scores = FitScorer(family.fit, past, StudySpec(n_folds=3)).score({"weight": 1.0})
    assert len(scores.auc) == len(family.fits) == 3
    assert sum(scores.rows) == pytest.approx(len(past) / 2, rel=0.15)
    starts = past.decision_time.iloc[len(past) - np.cumsum(scores.rows[::-1])[::-1]]
    for (train, validation), start in zip(family.fits, starts, strict=True):
        assert train.label_time.max() <= validation.decision_time.min()
        assert validation.label_time.max() <= start
        assert len(train) > len(validation) > 0


def test_an_embargo_widens_the_gap_before_a_fold(past):
    close, wide = Blend(), Blend()
    FitScorer(close.fit, past, StudySpec(n_folds=1)).score({"weight": 1.0})
    FitScorer(wide.fit, past, StudySpec(n_folds=1, embargo_days=20)).score({"weight": 1.0})
    latest = [family.fits[0][1].label_time.max() for family in (close, wide)]
    assert latest[0] - latest[1] >= pd.Timedelta(days=30)


def test_seed_and_threads_reach_every_fit(past):
    family = Blend()
    FitScorer(family.fit, past, StudySpec(seed=5, threads=2)).score({"weight": 1.0})
    assert family.settings == {(5, 2)}


def test_a_fold_of_one_class_is_refused(past):
    lost = Examples(past.frame.assign(label=0.0))
    with pytest.raises(LearningError, match=r"all 0.*more history"):
        FitScorer(Blend().fit, lost, StudySpec()).score({"weight": 1.0})


@pytest.mark.parametrize("n_trials", [0, 1])
def test_no_search_judges_the_defaults(past, n_trials):
    family = Blend()
    result = run_study(family, past, StudySpec(n_trials=n_trials, n_folds=2), StudyContext("none"))
    assert result.params == family.default_params()
    assert result.scores.mean("auc") == result.default_scores.mean("auc")
    assert result.trials == 1
    assert len(family.fits) == 2


def test_a_search_finds_better_parameters(past):
    result = run_study(Blend(), past, StudySpec(n_trials=12, n_folds=2), StudyContext("search"))
    assert result.params["weight"] > 0.5
    assert result.params["untuned"] == 5
    assert result.scores.mean("auc") > result.default_scores.mean("auc")
    assert result.trials == 12


def test_the_defaults_win_where_nothing_beats_them(past):
    class Best(Blend):
        def default_params(self) -> dict[str, Any]:
            return {"weight": 1.0}

    result = run_study(Best(), past, StudySpec(n_trials=4), StudyContext("best"))
    assert result.scores.mean("auc") >= result.default_scores.mean("auc")


def test_equal_seeds_search_alike(past):
    spec = StudySpec(n_trials=6, n_folds=1, seed=11)
    assert run_study(Blend(), past, spec, StudyContext("a")) == run_study(Blend(), past, spec, StudyContext("b"))


def test_a_stopped_study_goes_on(past):
    storage = optuna.storages.InMemoryStorage()
    family = Blend()
    first = run_study(family, past, StudySpec(n_trials=3, n_folds=1), StudyContext("long", storage))
    second = run_study(family, past, StudySpec(n_trials=5, n_folds=1), StudyContext("long", storage))
    assert (first.trials, second.trials) == (3, 5)
    assert len(family.weights) == 5
    assert family.weights.count(0.1) == 1
    assert len(set(family.weights)) == 5  # what goes on does not draw again what was drawn first
    assert second.default_scores == first.default_scores


def test_failed_trials_do_not_count(past):
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="bumpy", storage=storage, direction="maximize")
    for _ in range(2):
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    assert run_study(Blend(), past, StudySpec(n_trials=3, n_folds=1), StudyContext("bumpy", storage)).trials == 3
    assert [trial.state for trial in study.trials[2:]] == [COMPLETE] * 3


def test_defaults_are_judged_to_the_end_however_poor_they_are(past):
    storage, spec = optuna.storages.InMemoryStorage(), StudySpec(n_trials=12, n_folds=2)
    run_study(Blend(), past, spec, StudyContext("first", storage))
    known = optuna.load_study(study_name="first", storage=storage).get_trials(states=(COMPLETE,))
    without = optuna.create_study(study_name="without defaults", storage=storage, direction="maximize")
    for trial in known:
        if trial.params["weight"] > 0.5:
            without.add_trials([trial] * 6)
    spec = spec.model_copy(update={"n_trials": len(without.trials) + 1})
    run_study(Blend(), past, spec, StudyContext("without defaults", storage))
    assert [trial.state for trial in asked_for_defaults(storage, "without defaults")] == [COMPLETE]


@pytest.mark.parametrize(("rounds", "at_edge"), [(1, {"rounds": 1}), (2, {}), (9, {"rounds": 9})])
def test_what_was_tuned_inside_may_be_at_either_end(past, rounds, at_edge):
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="tuned inside", storage=storage, direction="maximize")
    scores = FoldScores((0.99,), (0.1,), (0.3,), (0.99,), (100,), chosen={"rounds": rounds})
    study.add_trial(
        optuna.create_trial(
            params={"weight": 0.5},
            distributions={"weight": optuna.distributions.FloatDistribution(0.0, 1.0)},
            value=0.99,
            user_attrs={SCORES: asdict(scores), RANGES: {"rounds": (1, 9)}},
        )
    )
    result = run_study(Blend(), past, StudySpec(n_trials=1, n_folds=1), StudyContext("tuned inside", storage))
    assert (result.params["rounds"], result.edges) == (rounds, at_edge)


def asked_for_defaults(storage: optuna.storages.BaseStorage, name: str) -> list[optuna.trial.FrozenTrial]:
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return [trial for trial in trials if trial.user_attrs.get(IS_DEFAULT)]


def test_concurrent_workers_judge_the_defaults_once(past, monkeypatch):
    """Each waits between looking and asking, so that the other would have looked as well."""
    enqueue, storage, alone = optuna.Study.enqueue_trial, optuna.storages.InMemoryStorage(), Lock()

    def slow(study: optuna.Study, *what: Any, **how: Any) -> None:
        sleep(0.3)
        enqueue(study, *what, **how)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", slow)
    spec = StudySpec(n_trials=2, n_folds=1)
    with ThreadPoolExecutor(2) as pool:
        place = StudyContext("shared", storage, alone=alone)
        workers = [pool.submit(run_study, Blend(), past, spec, place) for _ in range(2)]
    assert all(worker.result().default_scores.auc for worker in workers)
    assert len(asked_for_defaults(storage, "shared")) == 1


def test_defaults_at_another_worker_are_not_queued_again(past):
    class Best(Blend):
        def default_params(self) -> dict[str, Any]:
            return {"weight": 1.0}

    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="shared", storage=storage, direction="maximize")
    study.enqueue_trial({"weight": 1.0}, user_attrs={IS_DEFAULT: True})
    study.ask()
    result = run_study(Best(), past, StudySpec(n_trials=2, n_folds=1), StudyContext("shared", storage))
    assert len(asked_for_defaults(storage, "shared")) == 1
    assert result.params == {"weight": 1.0}
    assert result.scores == result.default_scores


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_scored(name, past):
    scores = FitScorer(FAMILIES[name].fit, past, StudySpec(n_folds=2)).score(small(name))
    assert scores.mean("auc") > 0.6
    assert 0.0 < scores.mean("brier") < 0.3
