"""Fixtures of databases that have MLflow's tables already. `conftest` imports them for all tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster_tests.support.new_database import new_database

PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "alone")
"""The name of this process among those of one test run."""

TEMPLATE = f"mlflow_template_{PROCESS}"
PATIENCE_SECONDS = 270
"""Less than a test may take, and far more than MLflow's tables need on an idle machine."""
PREPARE = """
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.tracking.client import experiment_id
print(experiment_id(load_settings()))
"""

_names = (f"tracked_{PROCESS}_{number}" for number in count())


@pytest.fixture(scope="session")
def first_two_starters(
    postgres: ServerAddress, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[int, str, str]]]:
    """Exit code, output and errors of two processes that prepare one empty database, `TEMPLATE`, at the same time.

    Each has its own temporary folder, as on two machines, so that MLflow's lock file there does not help.
    """
    with new_database(postgres, TEMPLATE) as url:
        yield _meet(tmp_path_factory.mktemp("template"), url)


def _meet(home: Path, url: str) -> list[tuple[int, str, str]]:
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DATABASE_URL": url,
        "MLFLOW_EXPERIMENT_NAME": "template",
    }
    starters = []
    for name in ("one", "two"):
        (home / name).mkdir()
        starters.append(
            subprocess.Popen(
                [sys.executable, "-c", PREPARE],
                env={**environment, "TMPDIR": str(home / name)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        answers = [starter.communicate(timeout=PATIENCE_SECONDS) for starter in starters]
    finally:
        for starter in starters:
            starter.kill()
    return [(starter.returncode, *answer) for starter, answer in zip(starters, answers, strict=True)]


@pytest.fixture(scope="module")
def tracked(
    postgres: ServerAddress,
    first_two_starters: list[tuple[int, str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Settings]:
    """Settings whose `DATABASE_URL` is the module's own database with MLflow's tables, which take seconds to create."""
    assert any(code == 0 for code, *_ in first_two_starters), first_two_starters
    name = next(_names)
    with new_database(postgres, name, TEMPLATE) as url:
        yield Settings(home=tmp_path_factory.mktemp(name), database_url=SecretStr(url))


@pytest.fixture
def empty_registry(tracked: Settings) -> Settings:
    """`tracked` without registered models, decisions and predictions."""
    with psycopg_connect(tracked, "mlflow", autocommit=True) as connection:
        connection.execute("TRUNCATE registered_models CASCADE")
        connection.execute("DROP SCHEMA IF EXISTS cleverbetter CASCADE")
        connection.execute("CREATE SCHEMA cleverbetter")
    return tracked
