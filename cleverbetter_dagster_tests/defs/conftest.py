"""Fixtures of the tests of sensors and of the daemon."""

from collections.abc import Iterator

import psycopg
import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.tables import ensure_source_tables


@pytest.fixture
def connection(environment: Settings) -> Iterator[psycopg.Connection]:
    """To the two tables, made and empty."""
    ensure_source_tables(environment)
    with psycopg_connect(environment, "rows", autocommit=True) as connection:
        yield connection
