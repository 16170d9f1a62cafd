"""What marks a database as the demo's, so that simulated rows and a team's own are never mixed; and its removal."""

import shutil
from contextlib import closing
from pathlib import Path

from psycopg import sql

from cleverbetter_dagster.dataset.schema import STRATEGY
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import (
    SCHEMAS,
    configured_target,
    embedded_folder,
    ensure_table,
    psycopg_connect,
    table_exists,
)
from cleverbetter_dagster.store.postgres.embedded import stop_server
from cleverbetter_dagster.store.source.tables import find_relation

RESET_COMMAND = "cleverbetter reset --demo"

DDL = """
CREATE TABLE demo (
    strategies integer NOT NULL,
    seed bigint NOT NULL,
    PRIMARY KEY (strategies, seed)
);
COMMENT ON TABLE demo IS 'One row per simulation whose rows the demo imported. No other rows may be imported here.';
"""


def demo_home(settings: Settings) -> Path:
    """The home that the demo uses: the given one if `DAGSTER_HOME` names it, else a folder in its state folder."""
    return settings.home if "home" in settings.model_fields_set else settings.state_folder / "demo"


def mark_as_demo(settings: Settings, spec: SimulationSpec, sample: set[str]) -> None:
    """Record that the rows of a simulation are about to be imported.

    Raises:
        DataError: the results table has rows of other strategies than `sample`: a team's own.
    """
    refuse_other_rows(settings, sample)
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        ensure_table(connection, "demo", DDL)
        statement = "INSERT INTO demo VALUES (%s, %s) ON CONFLICT DO NOTHING"
        connection.execute(statement, [spec.n_strategies, spec.seed])


def is_demo(settings: Settings) -> bool:
    """Whether the database holds the demo's rows. Makes no embedded database where there is none."""
    if configured_target(settings, "state") is None and not embedded_folder(settings).exists():
        return False
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        return table_exists(connection, "demo")


def refuse_demo(settings: Settings) -> None:
    """Refuse to put a team's own rows beside simulated ones.

    Raises:
        DataError: the database holds the demo's rows.
    """
    if is_demo(settings):
        raise DataError(
            f"The database of {settings.home} holds the demo's simulated rows, and your own must not be mixed with "
            f"them. `{RESET_COMMAND}` removes the demo; or set DAGSTER_HOME to another folder."
        )


def refuse_other_rows(settings: Settings, sample: set[str]) -> None:
    """Check that the results table has rows of the `sample` strategies only.

    Raises:
        DataError: it has rows of another strategy: a team's own, which must not be mixed with simulated ones.
    """
    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        results = find_relation(connection, settings.results_table)
        if results is None:
            return
        query = "SELECT strategy_id::text FROM {} WHERE strategy_id::text <> ALL(%s) LIMIT 1"
        other = connection.execute(sql.SQL(query).format(results.identifier), [list(sample)]).fetchone()
    if other:
        raise DataError(
            f"{results} holds rows that are not simulated (strategy {other[0]}), and the demo must not mix its rows "
            "with them. Unset DATABASE_URL, or set DAGSTER_HOME to an empty folder, and run the demo there."
        )


def remove_demo(settings: Settings) -> None:
    """Remove the demo's rows, models, runs and files: all that is stored, because it comes from those rows.

    Raises:
        DataError: the results table has other rows too.
    """
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        simulations = connection.execute("SELECT strategies, seed FROM demo").fetchall()
    specs = [SimulationSpec(n_strategies=strategies, seed=seed) for strategies, seed in simulations]
    refuse_other_rows(settings, {name for spec in specs for name in simulate_rows(spec)[0][STRATEGY]})
    if settings.uses_embedded_database:
        stop_server(embedded_folder(settings))
    else:
        _drop(settings)
    shutil.rmtree(settings.state_folder, ignore_errors=True)


def _drop(settings: Settings) -> None:
    """The tables of rows and our schemas, where no server of ours can be removed with all it holds."""
    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        for name in (settings.features_table, settings.results_table):
            if relation := find_relation(connection, name):
                connection.execute(sql.SQL("DROP TABLE {}").format(relation.identifier))
    for purpose, schema in SCHEMAS.items():
        if schema is not None:
            with closing(psycopg_connect(settings, purpose, autocommit=True)) as connection:
                quoted = sql.Identifier(schema)
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(quoted))
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(quoted))  # other processes rely on it
