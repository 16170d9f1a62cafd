"""Every form of address that libpq reads reaches the same database in every part, over TCP and a socket."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.postgres import embedded
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.dialect import SessionDialect
from cleverbetter_dagster.store.postgres.embedded import ensure_server, stop_server
from cleverbetter_dagster.store.postgres.postmaster import DATABASE, ROLE
from cleverbetter_dagster.store.postgres.url import DRIVER, libpq_parameters, parsed, sqlalchemy_url
from cleverbetter_dagster_tests.support.every_part import PARTS, asked_of_every_part, tables_outside_our_schemas

FORMS = (
    "postgres://{user}:{password}@127.0.0.1:{port}/{database}",
    "postgresql://{user}:{password}@localhost:{port}/{database}?connect_timeout=5&application_name=a+b%20c",
    "postgresql+psycopg2://{user}:{password}@127.0.0.1:{port}/{database}?sslmode=disable",
    "postgresql+psycopg://{user}:{password}@127.0.0.1:{port}/{database}?options=-cjit%3Doff+-cwork_mem%3D8MB",
    "postgresql://{user}:{password}@/{database}?host={socket}&port={port}",
    "postgresql://{user}:{password}@{quoted_socket}:{port}/{database}",
    "postgresql://{user}:{password}@[::1]:{port}/{database}",
    "postgresql://{user}:{password}@127.0.0.1:1,127.0.0.1:{port}/{database}",
    "postgresql+psycopg2://{user}:{password}@/{database}?host=127.0.0.1:1&host=127.0.0.1:{port}",
    "postgresql://{user}@127.0.0.1:{port}/{database}?passfile={passfile}",
    "postgresql://127.0.0.1:{port}/?user={user}&password={password}&dbname={database}",
    "postgresql:///?service=racing",
    "service=racing",
    "host={socket} port={port} dbname={database} user={user} password='{password}'",
    "postgresql://",
)
"""The last finds everything in the environment; `service` in a service file."""


@dataclass(frozen=True)
class Place:
    """A server on TCP and on a socket, and what its addresses may name."""

    home: Path
    names: dict[str, object]


@pytest.fixture(scope="module")
def place(stopped_server: Path) -> Iterator[Place]:
    socket = Path(tempfile.mkdtemp(prefix="cb", dir="/tmp"))  # a socket's path is limited to 107 bytes
    folder = socket / "postgres"
    shutil.copytree(stopped_server, folder, symlinks=True)
    options = {"unix_socket_directories": str(socket), "listen_addresses": "127.0.0.1,::1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in options.items():
            patch.setitem(embedded.SERVER_OPTIONS, name, value)
        server = ensure_server(folder)
    names = {"user": ROLE, "password": server.password, "port": server.port, "database": DATABASE, "socket": socket}
    passfile = socket / "passwords"
    passfile.write_text(f"*:*:*:*:{server.password}\n")
    passfile.chmod(0o600)
    service = "[racing]\nhost=127.0.0.1\nport={port}\nuser={user}\npassword={password}\ndbname={database}\n"
    (socket / "services").write_text(service.format(**names))
    yield Place(socket, names | {"quoted_socket": quote(str(socket), safe=""), "passfile": passfile})
    stop_server(folder)
    shutil.rmtree(socket)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_libpq_works_in_every_part(place: Place, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in place.names.items():
        variable = {"user": "PGUSER", "password": "PGPASSWORD", "port": "PGPORT", "database": "PGDATABASE"}.get(name)
        if form == "postgresql://" and variable:
            monkeypatch.setenv(variable, str(value))
    if form == "postgresql://":
        monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGSERVICEFILE", str(place.home / "services"))
    monkeypatch.setenv("DATABASE_URL", form.format(**place.names))
    monkeypatch.setenv("DAGSTER_HOME", str(place.home / "home"))
    settings = load_settings()
    answers = asked_of_every_part(settings, "SELECT current_database() || ' ' || current_schema()")
    assert answers == {
        part: f"{DATABASE} {schema}"
        for part, schema in zip(PARTS, ("public", "public", "cleverbetter", "optuna", "dagster", "mlflow"), strict=True)
    }
    assert tables_outside_our_schemas(settings) == []


def test_settings_in_a_url_reach_every_part(place: Place, tmp_path: Path) -> None:
    form = "postgresql://{user}:{password}@127.0.0.1:{port}/{database}?options=-c%20work_mem%3D9MB%20--jit%3Doff"
    settings = Settings(home=tmp_path, database_url=SecretStr(form.format(**place.names)))
    answers = asked_of_every_part(settings, "SELECT current_setting('work_mem') || current_setting('jit')")
    assert answers == dict.fromkeys(PARTS, "9MBoff")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("postgresql://ann:Tr0ub4dor@db/racing?colour=red", "'colour', which libpq does not know"),
        ("host=db password=Tr0ub4dor colour=red", "'colour', which libpq does not know"),
        ("postgresql://ann:Tr0ub4dor@db:port/racing?x", "cannot be read as a URL"),
        ("postgresql://ann:x@Tr0ub4dor@db/racing", "cannot be read as a URL"),
        ("mysql://ann:Tr0ub4dor@db/racing", "a URL of 'mysql'"),
    ],
)
def test_what_libpq_cannot_read_is_refused_in_one_sentence(tmp_path: Path, text: str, because: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL holds") as caught:
        psycopg_connect(Settings(home=tmp_path, database_url=SecretStr(text)), "rows")
    assert because in str(caught.value)
    assert "Tr0ub4dor" not in str(caught.value)


@pytest.mark.parametrize("option", ["no_such%3D1", "work_mem%3Dmuch", "ignore_system_indexes%3Don"])
def test_an_option_that_the_server_refuses_is_named(place: Place, tmp_path: Path, option: str) -> None:
    url = "postgresql://{user}:{password}@127.0.0.1:{port}/{database}".format(**place.names) + f"?options=-c{option}"
    with pytest.raises(SettingsError, match=f"refuses an option of DATABASE_URL: .*{option.partition('%')[0]}"):
        psycopg_connect(Settings(home=tmp_path, database_url=SecretStr(url)), "rows")


def test_processes_that_import_nothing_of_ours_find_the_dialect() -> None:
    (dialect,) = entry_points(group="sqlalchemy.dialects", name=DRIVER.replace("+", "."))
    assert dialect.load() is SessionDialect


def test_a_password_without_a_user_is_hidden(place: Place) -> None:
    url = make_url(sqlalchemy_url(parsed("postgresql://db/racing?password=Tr0ub4dor", "X"), {}))
    assert "Tr0ub4dor" not in repr(url)
    assert libpq_parameters(url)[0] == {"host": "db", "dbname": "racing", "password": "Tr0ub4dor"}
