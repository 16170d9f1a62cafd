import numpy as np
import pytest

from cleverbetter_dagster.dataset.examples import pooled
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.classifier.family import Classifier
from cleverbetter_dagster.learning.rl_agent.family import RlAgent
from cleverbetter_dagster.learning.rl_agent.scorer import AgentScorer
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.learning.tuning.study import StudyContext, run_study
from cleverbetter_dagster_tests.learning.conftest import SMALL

SPEC = StudySpec(metric="growth", n_folds=2, params=SMALL["rl_agent"], prune=False)


@pytest.fixture(scope="module")
def scorer(partition) -> AgentScorer:
    return AgentScorer(pooled(partition.train, partition.validation), SPEC, SMALL["rl_agent"])


def test_growth_is_scored_and_reported_fold_by_fold(scorer):
    reports: list[tuple[int, float]] = []
    scores = scorer.score(SMALL["rl_agent"], on_fold=lambda fold, value: reports.append((fold, value)))
    assert len(scores.growth) == len(scores.auc) == 2
    assert reports == [(0, scores.growth[0])]
    assert scores.mean("growth") == pytest.approx(np.mean(scores.growth))
    assert scorer.score(SMALL["rl_agent"]) == scores


def test_played_judged_and_scored_rows_follow_in_time(scorer):
    for fold in scorer.folds:
        assert fold.played.time.max() < fold.judged.time.min()
        assert fold.judged.time.max() < fold.scored.time.min()


def test_agents_never_see_the_rows_they_are_scored_on(scorer, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "cleverbetter_dagster.learning.rl_agent.scorer.train_agents", lambda *given: asked.append(given[:2]) or ()
    )
    assert scorer.score(SMALL["rl_agent"]).growth == (0.0, 0.0)
    assert asked == [(fold.played, fold.judged) for fold in scorer.folds]


def test_a_setting_moves_growth_and_leaves_the_scores_of_probabilities(scorer):
    usual, timid = (
        scorer.score({**SMALL["rl_agent"], "risk_weight": weight, "total_steps": 8192}) for weight in (0.0, 1e3)
    )
    assert timid.growth != usual.growth
    assert (timid.auc, timid.brier) == (usual.auc, usual.brier)


def test_by_auc_no_agent_is_trained_and_the_defaults_win(partition, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("an agent was trained")

    monkeypatch.setattr("cleverbetter_dagster.learning.rl_agent.scorer.train_agents", refuse)
    spec = SPEC.model_copy(update={"metric": "auc", "n_trials": 3})
    result = run_study(RlAgent(), pooled(partition.train, partition.validation), spec, StudyContext("s"))
    assert result.trials == 3
    assert result.params == {**RlAgent().default_params(), **SMALL["rl_agent"]}


def test_a_study_searches_what_moves_the_agents(partition):
    spec = SPEC.model_copy(update={"n_trials": 3, "n_folds": 1})
    result = run_study(RlAgent(), pooled(partition.train, partition.validation), spec, StudyContext("s"))
    assert result.scores.mean("growth") == max(value for value in result.history if value is not None)
    assert result.scores.mean("growth") >= result.default_scores.mean("growth")


def test_a_family_without_stakes_of_its_own_has_no_growth(partition):
    with pytest.raises(LearningError, match=r"classifier cannot be judged by growth: take auc, brier, log_loss\."):
        run_study(Classifier(), partition.past, StudySpec(metric="growth"), StudyContext("s"))
