"""The guide's calls on training jobs: its fields, forms and status words, over real Dagster runs."""

import re
from typing import Any

import dagster as dg
import pytest

from cleverbetter_dagster.api.dagster_runs import DagsterDown, DagsterRuns
from cleverbetter_dagster.defs.launches import ROLE_TAG, TRAINING, Launch
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import log_model
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster.store.unfinished_runs import FAMILY_TAG
from cleverbetter_dagster.store.workers.queue import JOB_ID_TAG
from cleverbetter_dagster_tests.api.conftest import Api, served
from cleverbetter_dagster_tests.store.tracking.test_package import MODEL

GUIDE = {
    "model_type": "ensemble",
    "config": {"min_composite_score": 0.5},
    "hyperparameter_search": True,
    "n_trials": 50,
}
FIELDS = ["job_id", "status", "model_type", "created_at", "completed_at", "metrics", "model_version"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@dg.op
def work() -> None:
    """Ends well."""


@dg.op
def stumble() -> None:
    """Ends badly."""
    raise dg.Failure("23 usable examples, 1000 needed", allow_retries=False)


def run_of(settings: Settings, job_id: str, op: dg.OpDefinition, family: str = "ensemble") -> str:
    """Id of a run that has ended, known as a training job."""
    job = dg.GraphDefinition(name="retrain", node_defs=[op]).to_job()
    tags = {JOB_ID_TAG: job_id, ROLE_TAG: TRAINING, FAMILY_TAG: family}
    with dg.DagsterInstance.get() as instance:
        return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).run_id


def runs_of(job_id: str) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.get() as instance:
        return list(instance.get_runs(dg.RunsFilter(tags={JOB_ID_TAG: job_id})))


def test_the_guides_call_queues_a_dagster_run(api: Api) -> None:
    answer = api.post("/api/v1/models/train", GUIDE)
    started = answer.json()
    assert answer.status_code == 202
    assert list(started) == ["job_id", "status", "message"]
    assert re.fullmatch(r"train_ensemble_\d{10}\.\d{3}", started["job_id"])
    assert (started["status"], started["message"]) == ("pending", "Training job started")
    training, rows = runs_of(started["job_id"])
    assert (training.job_name, rows.job_name) == ("retrain", "load_rows")
    assert (training.status, rows.status) == (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.QUEUED)
    assert {key.to_user_string() for key in training.asset_selection or ()} >= {"ensemble_model", "ensemble_evaluation"}
    assert training.run_config["ops"]["temporal_split"] == {"config": {"min_composite_score": 0.5}}
    status = api.get(answer.headers["Location"]).json()
    assert list(status) == FIELDS
    assert (status["status"], status["model_type"]) == ("pending", "ensemble")
    assert TIME.fullmatch(status["created_at"])
    assert (status["completed_at"], status["metrics"], status["model_version"]) == (None, None, None)


def test_an_incremental_job_updates_without_a_study(api: Api) -> None:
    answer = api.post("/api/v1/models/train", {"model_type": "classifier", "training": "incremental"})
    assert answer.status_code == 202, answer.text
    training, _ = runs_of(answer.json()["job_id"])
    assert (training.job_name, training.status) == ("incremental", dg.DagsterRunStatus.QUEUED)
    chosen = {key.to_user_string() for key in training.asset_selection or ()}
    assert chosen == {"training_rows", "temporal_split", "classifier_model", "classifier_evaluation"}
    assert training.run_config["ops"] == {"classifier_model": {"config": {"training": "incremental"}}}


def test_a_job_outlives_the_api_and_is_in_the_list(api: Api, with_dagster: Settings) -> None:
    job = api.post("/api/v1/models/train", GUIDE).json()["job_id"]
    with served(with_dagster) as another:
        assert another.get(f"/api/v1/models/training/{job}").json()["status"] == "pending"
        listed = another.get("/api/v1/models/training?status=pending&model_type=ensemble&limit=1").json()["jobs"]
        others = [
            another.get(f"/api/v1/models/training?{query}").json()["jobs"]
            for query in ("model_type=classifier", "status=failed", "status=running")
        ]
    assert [found["job_id"] for found in listed] == [job]
    assert job not in [found["job_id"] for jobs in others for found in jobs]


def test_cancelling_a_job_also_cancels_its_loading_once(api: Api) -> None:
    job = api.post("/api/v1/models/train", GUIDE).json()["job_id"]
    cancelled = api.post(f"/api/v1/models/training/{job}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert {run.status for run in runs_of(job)} == {dg.DagsterRunStatus.CANCELED}
    again = api.post(f"/api/v1/models/training/{job}/cancel")
    assert again.status_code == 409
    assert "cancelled already" in again.json()["detail"]


def test_a_completed_job_has_its_runs_version_and_metrics(api: Api, deployment: Settings) -> None:
    run_id = run_of(deployment, "train_ensemble_1.000", work)
    for run, accuracy in (("another run", 0.1), (run_id, 0.85)):
        with start_run(deployment, RunSpec("ensemble", "2023-12", "x", dagster_run_id=run)) as model_run:
            log_model(model_run, MODEL)
            metrics = {"accuracy": accuracy, "roc_auc": 0.92, "betting_sharpe_ratio": 1.8, "roc_auc_low": 0.9}
            model_run.log_metrics(metrics)
        version = Registry(deployment).register(model_run.run_id, "ensemble")
    job = api.get("/api/v1/models/training/train_ensemble_1.000").json()
    assert list(job) == FIELDS
    assert (job["status"], job["model_version"]) == ("completed", str(version))
    assert job["metrics"] == {"accuracy": 0.85, "roc_auc": 0.92, "sharpe_ratio": 1.8, "roc_auc_low": 0.9}
    assert list(job["metrics"])[:3] == ["accuracy", "roc_auc", "sharpe_ratio"]
    assert TIME.fullmatch(job["completed_at"])
    assert job["completed_at"] >= job["created_at"]


def test_a_failed_job_says_why_without_a_stack_trace(api: Api, deployment: Settings) -> None:
    run_of(deployment, "train_ensemble_2.000", stumble)
    job = api.get("/api/v1/models/training/train_ensemble_2.000").json()
    assert list(job) == [*FIELDS, "error"]
    assert job["status"] == "failed"
    assert job["error"] == "stumble: 23 usable examples, 1000 needed"


@pytest.mark.parametrize("path", ["/nope", "/train_ensemble_9.999", "/%00", "/%27%20OR%201=1"])
def test_an_unknown_job_is_not_found(api: Api, path: str) -> None:
    assert api.get(f"/api/v1/models/training{path}").status_code == 404


@pytest.mark.parametrize(
    ("change", "field", "advice"),
    [
        ({"model_type": "oracle"}, "model_type", "ensemble, classifier"),
        ({"n_trials": 0}, "n_trials", "1 to 1000"),
        ({"config": {"foo": 1}}, "config.foo", "min_composite_score"),
        ({"config": {"metric": "growth"}}, "config.metric", "use one of: auc, brier, log_loss"),
        ({"training": "incremental", "hyperparameter_search": False}, "n_trials", "train in full"),
        ({"trials": 1}, "trials", "n_trials"),
        ({"as_of": "1999-01"}, "as_of", "give a month from 2023-01 to"),
    ],
)
def test_bad_input_names_the_field_and_the_remedy(api: Api, change: dict[str, Any], field: str, advice: str) -> None:
    answer = api.post("/api/v1/models/train", GUIDE | change)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert list(problem) == ["field", "message", "remedy"]
    assert problem["field"] == field
    assert advice in f"{problem['message']} {problem['remedy']}"


def test_a_full_queue_takes_no_more(api: Api, with_dagster: Settings) -> None:
    api.post("/api/v1/models/train", GUIDE)
    waiting = len(api.get("/api/v1/models/training?status=pending&limit=200").json()["jobs"])
    with served(with_dagster.model_copy(update={"api_max_queued": waiting + 1})) as full:
        assert full.post("/api/v1/models/train", GUIDE).status_code == 202
        answer = full.post("/api/v1/models/train", GUIDE)
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    assert "CLEVERBETTER_API_MAX_QUEUED" in answer.json()["detail"]


def test_without_dagster_the_answer_says_how_to_start_it(with_dagster: Settings) -> None:
    with dg.DagsterInstance.get() as instance:
        before = instance.get_runs_count()
        with served(with_dagster.model_copy(update={"dagster_url": "http://127.0.0.1:9"})) as alone:
            answer = alone.post("/api/v1/models/train", GUIDE)
            ready = alone.get("/api/v1/ready")
        assert instance.get_runs_count() == before
    assert answer.status_code == 503
    assert "cleverbetter up" in answer.json()["detail"]
    assert (ready.status_code, ready.json()["parts"]["database"]) == (503, "ok")


def test_a_job_stops_if_dagster_goes_away_in_between(with_dagster: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, launched = DagsterRuns._launch, []

    def once(self: DagsterRuns, wanted: Launch) -> str:
        if launched:
            raise DagsterDown("gone")
        launched.append(launch(self, wanted))
        return launched[0]

    monkeypatch.setattr(DagsterRuns, "_launch", once)
    with pytest.raises(DagsterDown, match="gone"):
        DagsterRuns(with_dagster).submit(TrainingRequest.parse(GUIDE))
    with dg.DagsterInstance.get() as instance:
        rows = instance.get_run_by_id(launched[0])
    assert rows is not None
    assert (rows.job_name, rows.status) == ("load_rows", dg.DagsterRunStatus.CANCELED)


def test_the_whole_deployment_is_ready(api: Api) -> None:
    ready = api.get("/api/v1/ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ok", "parts": dict.fromkeys(("database", "mlflow", "dagster"), "ok")},
    )


def test_two_jobs_of_one_moment_have_ids_of_their_own(
    deployment: Settings, with_dagster: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(deployment, "train_ensemble_1700000000.500", work)
    monkeypatch.setattr("cleverbetter_dagster.api.dagster_runs.time.time", lambda: 1_700_000_000.5)
    assert DagsterRuns(with_dagster)._new_id("ensemble") == "train_ensemble_1700000000.501"
