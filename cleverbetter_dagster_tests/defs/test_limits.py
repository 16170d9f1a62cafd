"""Which runs exclude each other, and what becomes of the MLflow run of a step that gave up."""

import dagster as dg
import mlflow

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.resources import MLFLOW_KIND, ask_mlflow_first, mlflow_run
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.tracking.client import experiment_id, mlflow_client, tracking_uri
from cleverbetter_dagster.store.tracking.runs import RunSpec
from cleverbetter_dagster.store.workers.queue import LANE, MOST_RUNS


def test_one_training_runs_at_a_time_beside_predictions(environment: Settings) -> None:
    prepare_home(environment)
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_concurrency_config().run_queue_config
    assert runs is not None
    limits = {limit["value"]: limit["limit"] for limit in runs.tag_concurrency_limits if limit["key"] == LANE}
    assert limits == {"training": 1, "predictions": 1, "months": 1}
    backfills = [limit["limit"] for limit in runs.tag_concurrency_limits if limit["key"] == "dagster/backfill"]
    assert limits["training"] + sum(backfills) < runs.max_concurrent_runs == MOST_RUNS


def test_every_job_is_in_a_lane_and_predictions_come_first() -> None:
    lanes = {job.name: job.tags for job in defs.resolve_all_job_defs() if job.name != "__ASSET_JOB"}
    assert {name: tags[LANE] for name, tags in lanes.items()} == {
        "load_rows": "training",
        "retrain": "training",
        "incremental": "training",
        "predict": "predictions",
        "walk_forward": "training",
    }
    assert int(lanes["predict"]["dagster/priority"]) > 0


def test_steps_of_one_family_and_loads_of_rows_never_overlap() -> None:
    graph = defs.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.executable_asset_keys}
    for family in FAMILIES:
        assert pools[f"{family}_study"] == pools[f"{family}_model"] == {f"{family}_training"}
    assert pools["training_rows"] == {"rows"}
    assert pools["strategy_predictions"] == {"champion"}


def test_the_mlflow_run_fails_with_its_dagster_run(environment: Settings) -> None:
    @dg.asset(required_resource_keys={"mlflow"})
    def fitted(context: dg.AssetExecutionContext) -> None:
        context.resources.mlflow.set_tag("tried", "yes")
        if context.run.tags.get("fails"):
            raise dg.Failure("no", allow_retries=False)

    expected = {}
    with dg.DagsterInstance.ephemeral() as instance:
        for tags, status in (({"fails": "yes"}, "FAILED"), ({}, "FINISHED")):
            result = dg.materialize(
                [fitted], resources={"mlflow": mlflow_run}, instance=instance, tags=tags, raise_on_error=False
            )
            assert result.success is (status == "FINISHED")
            expected[result.run_id] = status
    client = mlflow.MlflowClient(tracking_uri(environment))
    experiment = client.get_experiment_by_name(environment.mlflow_experiment_name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["dagster_run_id"]: run.info.status for run in runs} == expected


def test_a_later_run_closes_what_a_killed_one_left(environment: Settings) -> None:
    @dg.asset(kinds={MLFLOW_KIND})
    def first(context: dg.AssetExecutionContext) -> None:
        ask_mlflow_first(context, environment)

    client = mlflow_client(environment)
    with dg.DagsterInstance.ephemeral() as instance:
        killed = instance.create_run_for_job(dg.Definitions([first]).resolve_implicit_global_asset_job_def())
        instance.report_run_failed(killed)
        tags = RunSpec("ensemble", "2023-12", "abc", dagster_run_id=killed.run_id).all_tags()
        left = client.create_run(experiment_id(environment), tags=tags).info.run_id
        assert dg.materialize([first], instance=instance).success
    assert client.get_run(left).info.status == "KILLED"
