"""Every part that opens connections of its own, each used once on a real database."""

from contextlib import closing

from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import Engine, create_engine

from cleverbetter_dagster.services.training.tune import study_storage
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import database_url, psycopg2_connect, psycopg_connect
from cleverbetter_dagster.store.tracking.client import mlflow_client

PARTS = ("rows", "rows of psycopg2", "state", "optuna", "dagster", "mlflow")


def asked_of_every_part(settings: Settings, query: str) -> dict[str, str]:
    """The answer to a query by each of `PARTS`, after each has used, and if needed made, its own tables."""
    answers = {}
    for purpose in ("rows", "state"):
        with closing(psycopg_connect(settings, purpose)) as connection:
            answers[purpose] = str((connection.execute(query).fetchone() or ("",))[0])
    with closing(psycopg2_connect(settings, "rows")) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        answers["rows of psycopg2"] = str(cursor.fetchone()[0])
    with study_storage(settings) as storage:
        assert storage.get_all_studies() is not None
        answers["optuna"] = _answer(storage.engine, query)
    storage = DagsterPostgresStorage(database_url(settings, "dagster"))
    assert storage.run_storage.get_runs_count() >= 0
    assert mlflow_client(settings).search_experiments() is not None
    for purpose in ("dagster", "mlflow"):
        answers[purpose] = _answer(create_engine(database_url(settings, purpose)), query)
    return answers


def tables_outside_our_schemas(settings: Settings) -> list[str]:
    """Tables that are in none of the schemas of the five purposes, which no part may make."""
    query = """SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname NOT IN
        ('pg_catalog', 'information_schema', 'cleverbetter', 'dagster', 'mlflow', 'optuna') ORDER BY 1"""
    with closing(psycopg_connect(settings, "rows")) as connection:
        return [name for (name,) in connection.execute(query)]


def _answer(engine: Engine, query: str) -> str:
    try:
        with engine.connect() as connection:
            return str(connection.exec_driver_sql(query).scalar())
    finally:
        engine.dispose()
