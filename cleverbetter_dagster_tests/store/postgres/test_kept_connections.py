"""Dagster's engines keep a connection, and replace one that the server closed."""

from contextlib import closing

from sqlalchemy import NullPool, create_engine, text

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.dagster_storage import OneDatabaseStorage
from cleverbetter_dagster.store.postgres.database import database_url, psycopg_connect
from cleverbetter_dagster.store.postgres.kept_connections import keeping_connections

PID = text("SELECT pg_backend_pid(), current_schema()")


def test_dagsters_engines_reuse_a_connection(environment: Settings) -> None:
    url = OneDatabaseStorage.from_config_value(None, {}).postgres_url
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        first = connection.execute(PID).one()
    with engine.connect() as connection:
        assert connection.execute(PID).one() == first
    assert first[1] == "dagster"
    engine.dispose()


def test_a_connection_that_the_server_closed_is_replaced(environment: Settings) -> None:
    engine = create_engine(keeping_connections(database_url(environment, "dagster")), poolclass=NullPool)
    with engine.connect() as connection:
        first = connection.execute(PID).scalar_one()
    with closing(psycopg_connect(environment, "rows", autocommit=True)) as other:
        assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [first]).fetchone() == (True,)
    with engine.connect() as connection:
        assert connection.execute(PID).scalar_one() != first
    engine.dispose()


def test_an_engine_with_a_pool_of_its_own_keeps_it(environment: Settings) -> None:
    engine = create_engine(keeping_connections(database_url(environment, "dagster")), pool_size=3)
    assert engine.pool.size() == 3  # type: ignore[attr-defined]
    engine.dispose()
