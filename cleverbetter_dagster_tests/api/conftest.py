"""What the tests of the API share: a deployment with rows, MLflow and Dagster's web server, and the API on a port."""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import randrange

import pytest
import requests
import uvicorn

from cleverbetter_dagster.api.app import create_app
from cleverbetter_dagster.cli.servers.processes import MODULE
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.web.address import LOOPBACK, free_port

SIMULATION = SimulationSpec(n_strategies=50, first_month="2023-01", months=3)


@dataclass(frozen=True)
class Api:
    """The API on a port of its own."""

    url: str

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=60, **options)  # type: ignore[arg-type]

    def post(self, path: str, body: object = None, **options: object) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=body, timeout=60, **options)  # type: ignore[arg-type]


@contextmanager
def served(settings: Settings) -> Iterator[Api]:
    """The API of `settings`, served by uvicorn as `cleverbetter api` does."""
    port = free_port(randrange(20_000, 30_000))
    config = uvicorn.Config(create_app(settings), host=LOOPBACK, port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield Api(f"http://{LOOPBACK}:{port}")
    server.should_exit = True
    thread.join()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def _clean_environment() -> None:
    """The fixtures here set the variables themselves, once a module."""


@pytest.fixture(scope="module")
def deployment(tracked: Settings) -> Iterator[Settings]:
    """A database with MLflow's tables and simulated rows, in the environment as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(prepare_home(tracked)))
        assert tracked.database_url is not None
        patch.setenv("DATABASE_URL", tracked.database_url.get_secret_value())
        results, features = simulate_rows(SIMULATION)
        results.to_parquet(tracked.home / "results.parquet")
        features.to_parquet(tracked.home / "features.parquet")
        import_files(tracked, tracked.home / "results.parquet", tracked.home / "features.parquet")
        yield tracked


@pytest.fixture(scope="module")
def with_dagster(deployment: Settings) -> Iterator[Settings]:
    """The deployment with Dagster's web server; there is no daemon, so runs stay in the queue."""
    port = free_port(randrange(20_000, 30_000))
    command = [sys.executable, "-m", "dagster_webserver", "-h", LOOPBACK, "-p", str(port), "-m", MODULE]
    environment = {**os.environ, "PWD": str(deployment.home)}
    with subprocess.Popen(
        command, cwd=deployment.home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        url = f"http://{LOOPBACK}:{port}"
        until(lambda: answers(f"{url}/server_info"))
        yield deployment.model_copy(update={"dagster_url": url})
        server.terminate()


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


@pytest.fixture(scope="module")
def api(with_dagster: Settings) -> Iterator[Api]:
    """The API of the whole deployment, without a token."""
    with served(with_dagster) as running:
        yield running
