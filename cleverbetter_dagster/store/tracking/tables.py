"""MLflow's own tables: whether they are those the installed MLflow needs. Creates and changes nothing.

A client of MLflow would make the tables where they are missing, so none is used here.
"""

from dataclasses import dataclass
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from cleverbetter_dagster.errors import DatabaseUnavailable


@dataclass(frozen=True)
class Revisions:
    """Of MLflow's tables: the one found, None where there are none yet, and the one its code is written for."""

    found: str | None
    needed: str | None

    @property
    def fit(self) -> bool:
        """Whether MLflow can use the tables, or would make them."""
        return self.found in (None, self.needed)


def table_revisions(url: str) -> Revisions:
    """The revisions of the tables in a database that MLflow keeps runs in.

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
            found = MigrationContext.configure(connection).get_current_revision()
    except DBAPIError:
        raise DatabaseUnavailable(
            "The database that MLflow keeps its runs in does not answer. Check that it runs, and MLFLOW_TRACKING_URI."
        ) from None
    finally:
        engine.dispose()
    return Revisions(found, scripts.get_current_head())
