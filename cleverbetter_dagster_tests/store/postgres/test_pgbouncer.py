"""Behind a real PgBouncer: every part finds its own schema, or is refused before anything is written."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import database_url, psycopg_connect
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster_tests.support.every_part import PARTS, asked_of_every_part, tables_outside_our_schemas

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (Debian: apt install pgbouncer)")

CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {pooler_port}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users
pool_mode = {mode}
ignore_startup_parameters = {ignored}
"""

Pooled = Callable[[str, str], Settings]


@pytest.fixture
def pooled(database: Settings) -> Iterator[Pooled]:
    """Makes settings whose database is reached through a pooler of a mode that ignores some startup parameters."""
    assert database.database_url is not None and PGBOUNCER is not None
    server = conninfo_to_dict(database.database_url.get_secret_value())
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer"))
    folder.chmod(0o755)
    (folder / "users").write_text(f'"{server["user"]}" "{server["password"]}"\n')
    processes = []

    def start(mode: str, ignored: str) -> Settings:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        text = CONFIGURATION.format(
            host=server["host"], port=server["port"], pooler_port=port, folder=folder, mode=mode, ignored=ignored
        )
        (folder / "pgbouncer.ini").write_text(text)
        user = ("-u", "nobody") if os.geteuid() == 0 else ()  # it refuses to run as root
        processes.append(subprocess.Popen([PGBOUNCER, "-q", *user, folder / "pgbouncer.ini"]))
        url = f"postgresql://{server['user']}:{server['password']}@127.0.0.1:{port}/{server['dbname']}"
        for _ in range(100):
            with suppress(psycopg.OperationalError), closing(psycopg.connect(url)):
                break
            time.sleep(0.05)
        return database.model_copy(update={"database_url": SecretStr(url)})

    yield start
    for process in processes:
        process.terminate()
        process.wait(10)
    shutil.rmtree(folder)


@pytest.mark.parametrize("ignored", ["extra_float_digits, options", "extra_float_digits"])
def test_every_part_finds_its_schema_behind_a_session_pooler(pooled: Pooled, ignored: str) -> None:
    settings = pooled("session", ignored)
    schemas = ("public", "public", "cleverbetter", "optuna", "dagster", "mlflow")
    for _ in range(2):  # the second time in sessions that others used before
        answers = asked_of_every_part(settings, "SELECT current_schema()")
        assert answers == dict(zip(PARTS, schemas, strict=True))
    assert tables_outside_our_schemas(settings) == []


def test_options_of_a_url_pass_a_pooler_that_ignores_them(pooled: Pooled) -> None:
    settings = pooled("session", "options")
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value() + "?options=-csearch_path%3Dtheirs%20-cwork_mem%3D9MB"
    settings = settings.model_copy(update={"database_url": SecretStr(url)})
    with closing(psycopg_connect(settings, "rows")) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("theirs",)
        assert connection.execute("SHOW work_mem").fetchone() == ("9MB",)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_sessions_is_refused_at_once(pooled: Pooled, database: Settings, mode: str) -> None:
    settings = pooled(mode, "extra_float_digits, options")
    for part in (
        lambda: psycopg_connect(settings, "rows"),
        lambda: psycopg_connect(settings, "state"),
        lambda: database_url(settings, "dagster"),
        lambda: database_url(settings, "optuna"),
        lambda: mlflow_client(settings),
    ):
        with pytest.raises(SettingsError, match="Set pool_mode = session for this database, or name the server"):
            part()
    with closing(psycopg_connect(database, "rows")) as connection:
        made = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('cleverbetter', 'dagster', 'mlflow', 'optuna')"
        assert connection.execute(made).fetchone() == (0,)


def test_mlflows_own_address_may_not_share_sessions_either(pooled: Pooled, database: Settings) -> None:
    settings = pooled("transaction", "options")
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_URI leads to"):
        mlflow_client(database.model_copy(update={"mlflow_tracking_uri": url}))
