"""The revision of MLflow's own tables. Creates and changes nothing.

A client of MLflow would create missing tables, so none is used here.
"""

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from cleverbetter_dagster.errors import DatabaseUnavailable


def table_revisions(url: str) -> tuple[str | None, str | None]:
    """The revision of MLflow's tables in a database, None if there are none; and the one the installed MLflow needs.

    Args:
        url: SQLAlchemy's, with the password; no message shows it.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    import mlflow

    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision(), scripts.get_current_head()
    except DBAPIError:
        raise DatabaseUnavailable(
            "The database of MLflow's runs does not answer. Check that it runs, and MLFLOW_TRACKING_URI."
        ) from None
    finally:
        engine.dispose()
