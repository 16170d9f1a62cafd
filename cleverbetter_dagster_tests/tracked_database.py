"""Fixtures of databases that hold MLflow's tables already. `conftest` takes them in, once for all rooms."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.database import psycopg_connect
from cleverbetter_dagster.store.postmaster import DATABASE, ServerAddress

PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "alone")
"""Which of several processes of one test run this is."""

TEMPLATE = f"mlflow_template_{PROCESS}"
PATIENCE_SECONDS = 270
"""Below what a test may take, and far above what MLflow's tables take on a machine that does nothing else."""
PREPARE = """
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.tracking import experiment_id
print(experiment_id(load_settings()))
"""

_names = (f"tracked_{PROCESS}_{number}" for number in count())


def copied_quickly(connection: psycopg.Connection) -> sql.SQL:
    """What makes CREATE DATABASE quick. Before PostgreSQL 15 there was no other way, and no word for it."""
    return sql.SQL("STRATEGY file_copy" if connection.info.server_version >= 150_000 else "")


@pytest.fixture(scope="session")
def first_two_starters(postgres: ServerAddress, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of two processes that meet an empty database at once, and leave `TEMPLATE`.

    Each has a temporary folder of its own, as on two machines, so that MLflow's lock file there is of no help.
    """
    with postgres.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    home = tmp_path_factory.mktemp("template")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DATABASE_URL": postgres.url.replace(f"/{DATABASE}?", f"/{TEMPLATE}?"),
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
    """Settings whose `DATABASE_URL` is the module's own database, with MLflow's tables, which take seconds to make."""
    assert any(code == 0 for code, *_ in first_two_starters), first_two_starters
    name = next(_names)
    names = sql.Identifier(name), sql.Identifier(TEMPLATE)
    with postgres.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(*names, copied_quickly(connection)))
    url = postgres.url.replace(f"/{DATABASE}?", f"/{name}?")
    yield Settings(home=tmp_path_factory.mktemp(name), database_url=SecretStr(url))
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def empty_registry(tracked: Settings) -> Settings:
    """`tracked` without registered models, decisions and predictions."""
    with psycopg_connect(tracked, "mlflow", autocommit=True) as connection:
        connection.execute("TRUNCATE registered_models CASCADE")
        connection.execute("DROP SCHEMA IF EXISTS cleverbetter CASCADE")
        connection.execute("CREATE SCHEMA cleverbetter")
    return tracked
