"""Dagster's and MLflow's real servers behind the guard."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from cleverbetter_dagster.cli.servers.processes import Service, mlflow_service, webserver_service
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.tracking.client import tracking_uri
from cleverbetter_dagster.store.tracking.places import artefact_folder
from cleverbetter_dagster.web.address import LOOPBACK, Address, free_port

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
EVIL = {"Origin": "http://evil.example"}
START_SECONDS = 240
EMPTY_WORKSPACE = '{"load_from": []}'
DELETE = {"query": 'mutation { deletePipelineRun(runId: "x") { __typename } }'}


@contextmanager
def running(service: Service, settings: Settings) -> Iterator[str]:
    assert settings.database_url is not None
    given = {"DATABASE_URL": settings.database_url.get_secret_value()}
    if settings.api_token:
        given["CLEVERBETTER_API_TOKEN"] = settings.api_token.get_secret_value()
    process = service.start(settings.home, given)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not service.answers():
            assert process.poll() is None and time.monotonic() < deadline, service.log.read_text()
            time.sleep(0.2)
        yield str(service.url)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def dagster(tracked: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    prepare_home(tracked)
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "workspace.yaml").write_text(EMPTY_WORKSPACE)
    with running(webserver_service(tracked, folder, Address(LOOPBACK, free_port(46000))), tracked) as url:
        yield url


@pytest.fixture(scope="module")
def mlflow(tracked: Settings) -> Iterator[str]:
    closed = tracked.model_copy(update={"api_token": SecretStr(TOKEN)})
    address = Address(LOOPBACK, free_port(47000))
    with running(
        mlflow_service(closed, tracking_uri(tracked), artefact_folder(tracked).as_uri(), address), closed
    ) as url:
        yield url


def test_dagster_answers_programs_on_this_machine(dagster: str) -> None:
    answer = requests.post(f"{dagster}/graphql", json={"query": "{ version }"}, timeout=60)
    assert answer.json()["data"]["version"]


def test_dagster_takes_no_mutation_from_another_site(dagster: str) -> None:
    assert requests.post(f"{dagster}/graphql", json=DELETE, headers=EVIL, timeout=60).status_code == 403


def test_dagster_executes_nothing_that_is_in_a_link(dagster: str) -> None:
    assert requests.get(f"{dagster}/graphql", params=DELETE, timeout=60).status_code == 405
    page = requests.get(f"{dagster}/graphql", params=DELETE, headers={"Accept": "text/html"}, timeout=60)
    assert "__typename" not in page.text


def test_dagster_is_not_served_under_another_name(dagster: str) -> None:
    assert requests.get(f"{dagster}/", headers={"Host": "evil.example"}, timeout=60).status_code == 403


def test_mlflow_takes_the_token(mlflow: str) -> None:
    experiments = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(experiments, timeout=60).status_code == 401
    assert requests.get(experiments, headers=BEARER, timeout=60).status_code == 200


def test_mlflow_takes_runs_with_the_token(mlflow: str) -> None:
    run = {"experiment_id": "0"}
    assert (
        requests.post(f"{mlflow}/api/2.0/mlflow/runs/create", json=run, headers=BEARER, timeout=60).status_code == 200
    )


def test_mlflow_writes_no_files_behind_a_doubled_slash(mlflow: str) -> None:
    path = "//ajax-api/2.0/mlflow/upload-artifact?run_uuid=x&path=x"
    answer = requests.post(f"{mlflow}{path}", data=b"x", headers=BEARER, timeout=60)
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "api/2.0/mlflow-artifacts/artifacts/x"),
        ("PUT", "ajax-api/2.0/mlflow-artifacts/artifacts/x"),
        ("DELETE", "api/2.0/mlflow-artifacts/artifacts/x"),
        ("POST", "ajax-api/2.0/mlflow/upload-artifact?run_uuid=x&path=x"),
        ("POST", "api/2.0/mlflow/upload-artifact?run_uuid=x&path=x"),
        ("POST", "ajax-api/2.0/mlflow/runs/create-promptlab-run"),
        ("POST", "ajax-api/3.0/mlflow/demo/generate"),
        ("PUT", "ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "ajax-api/3.0/mlflow/gateway/secrets/create"),
        ("POST", "api/3.0/mlflow/scorers/register"),
        ("POST", "api/2.0/mlflow/experiments/create"),
        ("POST", "ajax-api/2.0/mlflow/experiments/delete"),
        ("POST", "api/2.0/mlflow/registered-models/alias"),
        ("DELETE", "api/2.0/mlflow/model-versions/delete"),
        ("POST", "ajax-api/2.0/mlflow/model-versions/create"),
        ("POST", "api/2.0/mlflow/logged-models"),
    ],
)
def test_mlflow_writes_no_files(mlflow: str, tracked: Settings, method: str, path: str) -> None:
    answer = requests.request(method, f"{mlflow}/{path}", data=b"x", headers=BEARER, timeout=60)
    assert answer.status_code == 403
    assert not list(Path(artefact_folder(tracked)).glob("**/x"))
