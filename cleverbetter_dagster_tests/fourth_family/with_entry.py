"""What holds of the fourth family once it is in the catalogue. `test_fourth_family` runs it in its own process."""

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.services.evaluation.compare import compare_families
from cleverbetter_dagster.services.evaluation.evaluate import Evaluation, evaluate
from cleverbetter_dagster.services.training.fit import train
from cleverbetter_dagster.services.training.tune import tune
from cleverbetter_dagster.services.training.update import update
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster_tests.services.conftest import AS_OF, dataset, rows

__all__ = ["dataset", "rows"]

FAMILY = "boosting"
BRANCH = {f"{FAMILY}_{part}" for part in ("study", "model", "evaluation", "report")}


def test_its_assets_are_in_the_graph_and_the_job() -> None:
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    job = {key.to_user_string() for key in defs.resolve_job_def("retrain").asset_layer.executable_asset_keys}
    assert keys >= BRANCH and job >= BRANCH


def test_a_request_configures_its_assets() -> None:
    request = TrainingRequest.parse({"model_type": FAMILY, "n_trials": 3, "config": {"params": {"max_depth": 2}}})
    assert f"{FAMILY}_study" in request.run_config()["ops"]


def test_it_is_tuned_trained_evaluated_compared_and_updated(tracked, dataset) -> None:
    study = tune(tracked, FAMILY, dataset, StudySpec(n_trials=3, n_folds=2)).record
    assert (study.trials, study.metric) == (3, "auc")
    record, _ = train(tracked, dataset, study)
    evaluation = evaluate(tracked, record, dataset, StakingSpec(), IntervalSpec())
    assert isinstance(evaluation, Evaluation) and evaluation.model.headline["roc_auc"] > 0.6
    assert compare_families({FAMILY: evaluation.table}).record.challenger == FAMILY
    assert [version.as_of for version in Registry(tracked).list_versions(FAMILY)] == [AS_OF.key]
    again, _ = update(tracked, FAMILY, dataset)
    assert again.reuses_parent
