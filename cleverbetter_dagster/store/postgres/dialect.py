"""SQLAlchemy's dialect for the one database: Optuna, Dagster and MLflow connect as we do ourselves.

SQLAlchemy finds it by the name `postgresql+cleverbetter` in a URL that `url.sqlalchemy_url` made.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import URL

from cleverbetter_dagster.store.postgres.session import CLIENT_ENCODING, prepare
from cleverbetter_dagster.store.postgres.url import libpq_parameters


class SessionDialect(PGDialect_psycopg2):
    """psycopg2, with libpq's own reading of the address, and a session that is prepared before its first use."""

    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        parameters, _ = libpq_parameters(url)
        return [], {**parameters, "client_encoding": CLIENT_ENCODING}

    def on_connect_url(self, url: URL) -> Callable[[Any], None]:
        inherited = super().on_connect()
        _, settings = libpq_parameters(url)

        def prepared(connection: Any) -> None:
            prepare(connection, settings)
            if inherited is not None:
                inherited(connection)

        return prepared
