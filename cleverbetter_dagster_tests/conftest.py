"""Fixtures every room shares: a real PostgreSQL, and an environment nobody's shell leaks into."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr

from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.settings_file import FILE_VARIABLE
from cleverbetter_dagster.store.postgres.database import embedded_folder
from cleverbetter_dagster.store.postgres.embedded import ensure_server, stop_server
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster_tests.support.new_database import EXAMPLE, given_server, new_database
from cleverbetter_dagster_tests.support.tracked_database import (
    PROCESS,
    empty_registry,
    first_two_starters,
    tracked,
)

__all__ = ["empty_registry", "first_two_starters", "tracked"]

# No deadlines: tests share their processors with others.
hypothesis_settings.register_profile("some", deadline=None)
hypothesis_settings.register_profile("many", max_examples=10_000, deadline=None)  # pytest --hypothesis-profile=many
hypothesis_settings.load_profile("some")

_names = (f"test_{PROCESS}_{number}" for number in count())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres-url",
        help=f"run on this server instead of an embedded one, as its superuser, written with an equals sign and with "
        f"-n 0: --postgres-url={EXAMPLE}",
    )
    parser.addoption(
        "--timescaledb",
        action="store_true",
        help="keep backtest rows in hypertables of TimescaleDB, which that server has (Debian 13: "
        "postgresql-17-timescaledb; with timescaledb.max_background_workers=0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    url, timescaledb = config.getoption("--postgres-url"), config.getoption("--timescaledb")
    if timescaledb and not url:
        raise pytest.UsageError("--timescaledb goes with --postgres-url: the embedded server has no TimescaleDB.")
    if url and config.getoption("numprocesses", default=None):
        raise pytest.UsageError("Tests on one server disturb each other: run them one after another, with -n 0.")
    if url:
        try:
            given_server(url)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test meets the variables or the settings file, and so the database, of the person who runs it."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)
    monkeypatch.setenv(FILE_VARIABLE, os.devnull)


@pytest.fixture(scope="session")
def embedded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder whose embedded server `postgres` is."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[ServerAddress]:
    """One embedded server for the whole session, stopped at its end; or the server that was asked for."""
    if url := pytestconfig.getoption("--postgres-url"):
        yield given_server(url)
        return
    folder = embedded_folder(Settings(home=request.getfixturevalue("embedded_home")))
    server = ensure_server(folder)
    with server.connect() as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # its databases need not survive a power cut
        connection.execute("SELECT pg_reload_conf()")
    yield server
    stop_server(folder)


@pytest.fixture(scope="session")
def stopped_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that ran and was stopped, to be copied: quicker than another initdb."""
    folder = tmp_path_factory.mktemp("stopped") / "postgres"
    ensure_server(folder)
    stop_server(folder)
    return folder


@pytest.fixture(scope="session")
def with_timescaledb(pytestconfig: pytest.Config) -> bool:
    """Whether every `database` has TimescaleDB, so that the tables the package creates are hypertables."""
    return bool(pytestconfig.getoption("--timescaledb"))


@pytest.fixture
def database(postgres: ServerAddress, tmp_path: Path, with_timescaledb: bool) -> Iterator[Settings]:
    """Settings whose `DATABASE_URL` is a new, empty database, and whose home is the test's own folder."""
    with new_database(postgres, next(_names), timescaledb=with_timescaledb) as url:
        yield Settings(home=tmp_path, database_url=SecretStr(url))


@pytest.fixture
def environment(database: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """`database`, also in this process's environment: for what reads that itself, and for subprocesses.

    A subprocess that runs `dagster` must not have the repository as its folder: Dagster would read the `.env` there.
    """
    monkeypatch.setenv("DAGSTER_HOME", str(database.home))
    assert database.database_url is not None
    monkeypatch.setenv("DATABASE_URL", database.database_url.get_secret_value())
    return database
