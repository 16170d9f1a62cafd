"""The one database, on a real server: schemas, overrides, rights, locks, and passwords that stay hidden."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from sqlalchemy.engine import URL, create_engine, make_url

from cleverbetter_dagster.errors import DatabaseUnavailable, SchemaError, SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres import database as module
from cleverbetter_dagster.store.postgres.database import (
    SCHEMAS,
    Purpose,
    advisory_lock,
    configured_target,
    database_url,
    has_timescaledb,
    psycopg2_connect,
    psycopg_connect,
)
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.postgres.url import parsed, sqlalchemy_url

OVERRIDES: dict[Purpose, str] = {
    "dagster": "dagster_database_url",
    "optuna": "optuna_database_url",
    "state": "state_database_url",
}
AWKWARD_PASSWORD = "p@ss:w/rd?+ &%#é'"

_roles = (f"role_{number}" for number in count())


def url_of(settings: Settings) -> URL:
    assert settings.database_url is not None
    return make_url(settings.database_url.get_secret_value())


def with_url(settings: Settings, url: URL | str, field: str = "database_url") -> Settings:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    return settings.model_copy(update={field: SecretStr(text)})


def ask(settings: Settings, purpose: Purpose, query: str) -> object:
    with closing(psycopg_connect(settings, purpose)) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


@pytest.fixture
def stranger(database: Settings) -> Iterator[Settings]:
    """The same database for a role that may only connect; its password is hard to write in a URL."""
    role = next(_roles)
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        named = sql.Identifier(role)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(named, AWKWARD_PASSWORD))
        yield with_url(database, url_of(database).set(username=role, password=AWKWARD_PASSWORD))
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(named))


@pytest.mark.parametrize(("purpose", "schema"), [*SCHEMAS.items()])
def test_each_purpose_has_its_own_schema_for_every_driver(
    database: Settings, purpose: Purpose, schema: str | None
) -> None:
    assert ask(database, purpose, "SELECT current_schema()") == (schema or "public")
    assert database_url(database, purpose).startswith("postgresql+cleverbetter://")
    pool = create_engine(database_url(database, purpose))
    with pool.connect() as connection:
        assert connection.exec_driver_sql("SELECT current_schema()").scalar() == (schema or "public")
    pool.dispose()


def test_tables_of_one_name_do_not_collide(database: Settings) -> None:
    for purpose in SCHEMAS:
        with closing(psycopg_connect(database, purpose, autocommit=True)) as connection:
            connection.execute("CREATE TABLE runs AS SELECT current_schema() AS home")
    assert [ask(database, purpose, "SELECT home FROM runs") for purpose in SCHEMAS] == [
        schema or "public" for schema in SCHEMAS.values()
    ]


def test_without_database_url_the_embedded_server_serves(postgres: ServerAddress, embedded_home: Path) -> None:
    if not postgres.pid:
        pytest.skip("this run is on another server")
    settings = Settings(home=embedded_home)
    assert configured_target(settings, "state") is None
    assert ask(settings, "state", "SELECT inet_server_port()") == postgres.port


@pytest.mark.parametrize(("purpose", "field"), [*OVERRIDES.items()])
def test_a_variable_of_its_own_moves_only_one_purpose(
    database: Settings, postgres: ServerAddress, purpose: Purpose, field: str
) -> None:
    settings = with_url(database, postgres.url, field)
    moved = [p for p in SCHEMAS if ask(settings, p, "SELECT current_database()") != url_of(database).database]
    assert moved == [purpose]
    assert ask(settings, purpose, "SELECT current_schema()") == SCHEMAS[purpose]


def test_a_variable_of_its_own_may_name_the_schema(database: Settings) -> None:
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        connection.execute("CREATE SCHEMA theirs")
    theirs = url_of(database).update_query_dict({"options": "-csearch_path=theirs"})
    settings = with_url(database, theirs, "dagster_database_url")
    assert ask(settings, "dagster", "SELECT current_schema()") == "theirs"
    assert ask(settings, "dagster", "SELECT to_regnamespace('dagster')") is None


def test_a_urls_own_options_are_kept(database: Settings) -> None:
    own = "options=-c%20statement_timeout%3D4321%20-csearch_path%3Dtheirs&application_name=a%20name"
    settings = with_url(database, f"{url_of(database).render_as_string(hide_password=False)}&{own}")
    assert ask(settings, "state", "SHOW statement_timeout") == "4321ms"
    assert ask(settings, "state", "SHOW search_path") == "cleverbetter"
    assert ask(settings, "rows", "SHOW search_path") == "theirs"
    pool = create_engine(database_url(settings, "state"))
    with pool.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "4321ms"
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "a name"
    pool.dispose()
    with closing(psycopg2_connect(settings, "state")) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('application_name')")
        assert cursor.fetchone() == ("4321ms", "a name")


def test_a_reader_reads_rows_without_any_right_to_write(database: Settings, stranger: Settings) -> None:
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        connection.execute("CREATE TABLE backtest_results AS SELECT 7 AS total_bets")
        connection.execute("GRANT SELECT ON backtest_results TO PUBLIC")
    assert ask(stranger, "rows", "SELECT total_bets FROM backtest_results") == 7
    assert ask(stranger, "rows", "SELECT current_user") == url_of(stranger).username
    pool = create_engine(database_url(stranger, "rows"))
    with pool.connect() as connection:
        assert connection.exec_driver_sql("SELECT total_bets FROM backtest_results").scalar() == 7
    pool.dispose()


def test_a_schema_that_cannot_be_created_is_named(stranger: Settings) -> None:
    with pytest.raises(SchemaError) as caught:
        database_url(stranger, "state")
    user = url_of(stranger).username
    assert f"CREATE SCHEMA cleverbetter AUTHORIZATION {user}" in str(caught.value)
    assert AWKWARD_PASSWORD not in str(caught.value)


def test_an_existing_schema_needs_no_right_to_create(database: Settings, stranger: Settings) -> None:
    database_url(database, "state")
    user = url_of(stranger).username
    with pytest.raises(SchemaError, match=f"GRANT USAGE, CREATE ON SCHEMA cleverbetter TO {user}"):
        psycopg_connect(stranger, "state")
    with closing(psycopg_connect(database, "state", autocommit=True)) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA cleverbetter TO {user}")
    assert ask(stranger, "state", "SELECT current_schema()") == "cleverbetter"


def test_a_schema_that_another_process_creates_is_used(database: Settings) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE SCHEMA%'"
    with closing(psycopg_connect(database, "rows")) as other, ThreadPoolExecutor(1) as thread:
        other.execute("CREATE SCHEMA optuna")
        ours = thread.submit(database_url, database, "optuna")
        while ask(database, "rows", waiting) != 1 and not ours.done():
            pass
        other.commit()
        ours.result()


def asks_for_no_password(settings: Settings) -> bool:
    try:
        psycopg.connect(url_of(settings).set(drivername="postgresql", password="wrong").render_as_string(False)).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "Tr0ub4dor&3"}, "password authentication failed"),
        ({"password": "Tr0ub4dor&3", "port": 1}, "Connection refused"),
        ({"password": "Tr0ub4dor&3", "host": "no-such-host.invalid"}, "no-such-host.invalid"),
    ],
)
def test_an_unusable_database_is_named_without_its_password(
    database: Settings, change: dict[str, object], reason: str
) -> None:
    settings = with_url(database, url_of(database).set(**change), "dagster_database_url")  # type: ignore[arg-type]
    if "port" not in change and "host" not in change and asks_for_no_password(database):
        pytest.skip("this server trusts every password: its pg_hba.conf has a rule `trust` for this machine")
    with pytest.raises(DatabaseUnavailable) as caught:
        database_url(settings, "dagster")
    assert reason in str(caught.value)
    assert "DAGSTER_DATABASE_URL" in str(caught.value)
    assert "Tr0ub4dor" not in str(caught.value)
    assert "Tr0ub4dor" not in repr(configured_target(settings, "dagster"))
    assert caught.value.__suppress_context__  # the traceback must not show it either
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "mysql://ann:Tr0ub4dor@db/d",
        "Tr0ub4dor",
        "postgresql://ann:Tr0ub4dor@db:port/d",
        "postgresql://ann:x@Tr0ub4dor@db/d",
    ],
)
def test_a_wrong_url_is_refused_without_being_shown(database: Settings, text: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL holds") as caught:
        psycopg_connect(with_url(database, text), "rows")
    assert "Tr0ub4dor" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"])
def test_any_postgresql_scheme_is_accepted(database: Settings, scheme: str) -> None:
    _, _, address = url_of(database).render_as_string(hide_password=False).partition("://")
    assert ask(with_url(database, f"{scheme}://{address}"), "rows", "SELECT 1") == 1


def test_an_old_server_is_refused_with_both_versions(database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_SERVER", 99)
    with pytest.raises(SchemaError, match=r"is PostgreSQL \d{2}; 99 or later is needed"):
        psycopg_connect(database, "rows")


@given(user=st.text(min_size=1, max_size=20), password=st.text(min_size=1, max_size=20))
def test_any_user_and_password_reach_both_drivers_unchanged(user: str, password: str) -> None:
    user, password = user.replace("\0", "0"), password.replace("\0", "0")
    url = parsed(URL.create("postgresql", user, password, "db", 5433, "racing").render_as_string(False), "X")
    again = make_url(sqlalchemy_url(url, {}))
    assert (again.username, again.password) == (user, password)
    parts = conninfo_to_dict(url.conninfo)
    assert (parts["user"], parts["password"]) == (user, password)


def test_a_lock_has_one_holder_and_an_error_frees_it(database: Settings) -> None:
    free = "SELECT pg_try_advisory_lock(hashtextextended('cleverbetter:a name', 0))"

    def fail_in_a_lock(connection: psycopg.Connection) -> None:
        with advisory_lock(connection, "a name"):
            connection.execute("SELECT 1 / 0")

    with closing(psycopg_connect(database, "rows")) as holder, closing(psycopg_connect(database, "rows")) as other:
        with advisory_lock(holder, "a name"), advisory_lock(other, "another name"):
            assert other.execute(free).fetchone() == (False,)
        with pytest.raises(psycopg.errors.DivisionByZero):
            fail_in_a_lock(holder)
        assert other.execute(free).fetchone() == (True,)


def test_timescaledb_is_found_if_installed(database: Settings, with_timescaledb: bool) -> None:
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        assert has_timescaledb(connection) == with_timescaledb
        if not with_timescaledb:
            connection.execute("SET allow_system_table_mods = on")  # its entry is forged
            connection.execute(
                "INSERT INTO pg_extension VALUES (99999, 'timescaledb', 10, 2200, false, '2.20', NULL, NULL)"
            )
            assert has_timescaledb(connection)
