"""The hash of every model's files, in PostgreSQL: who may write MLflow's store may not write it.

A model's hash is recorded when it is logged and never changed; `files` compares with it before a model is read.
"""

from contextlib import closing

import psycopg

from cleverbetter_dagster.errors import ModelTampered
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import ensure_table, psycopg_connect, table_exists

DDL = """
CREATE TABLE model_hashes (
    model_id text PRIMARY KEY,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE model_hashes IS 'One row per model logged to MLflow: the SHA-256 of its files. Only unchanged models '
    'are loaded.';
"""


def record_hash(settings: Settings, model_id: str, sha256: str) -> None:
    """Record the hash of a new model's files.

    Raises:
        ModelTampered: the model has another hash already.
    """
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        ensure_table(connection, "model_hashes", DDL)
        connection.execute(
            "INSERT INTO model_hashes (model_id, sha256) VALUES (%s, %s) ON CONFLICT DO NOTHING", [model_id, sha256]
        )
        recorded = _recorded(connection, model_id)
    if recorded != sha256:
        raise ModelTampered(f"The model {model_id} has the hash of other files already; train the model again.")


def recorded_hash(settings: Settings, model_id: str) -> str | None:
    """The hash that was recorded when the model was logged; None if none was."""
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        return _recorded(connection, model_id) if table_exists(connection, "model_hashes") else None


def _recorded(connection: psycopg.Connection, model_id: str) -> str | None:
    row = connection.execute("SELECT sha256 FROM model_hashes WHERE model_id = %s", [model_id]).fetchone()
    return row[0] if row else None
