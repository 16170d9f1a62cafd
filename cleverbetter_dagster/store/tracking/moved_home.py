"""Where MLflow's records say the artefacts are, if that is no longer right: the home was moved, renamed or copied, or
the artefacts were copied to where `CLEVERBETTER_STORAGE_URL` says.

MLflow records absolute addresses (`file:///old/.cleverbetter/mlartifacts/...`) and has no call to change them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from sqlalchemy import (
    Connection,
    Select,
    String,
    column,
    create_engine,
    func,
    inspect,
    literal,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.exc import DataError

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.tracking.availability import noticing_absence
from cleverbetter_dagster.store.tracking.places import FOLDER

EXPERIMENTS = table("experiments", column("name"), column("artifact_location", String))
MODELS = table("logged_models", column("artifact_location", String), column("creation_timestamp_ms"))
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's tables that hold the address of a folder."""

MODELS_LOOKED_AT = 20
"""A home that has one of the newest models has the artefacts; older ones may have been deleted."""


@dataclass(frozen=True)
class Move:
    """From one folder of artefacts to another, as addresses that MLflow records."""

    old: str
    new: str


@dataclass(frozen=True)
class ArtefactHome:
    """Where the artefacts of a deployment belong.

    Attributes:
        experiment: name of its MLflow experiment.
        address: where they are, in the present home or in the shared storage.
        own_database: the database is the embedded one, so it was moved or copied with the home. Another database may
            serve several homes.
        storage: the shared storage; None: the home keeps them.
    """

    experiment: str
    address: str
    own_database: bool
    storage: ArtefactStore | None = None

    def has(self, path: str) -> bool:
        """Whether there are files in a folder, given as its path below `address`."""
        if self.storage is not None:
            return bool(self.storage.paths(f"{FOLDER}{path}"))
        return path_of(self.address + path).is_dir()

    def may_have_been(self, old: str) -> bool:
        """Whether artefacts of ours were at this address, and nobody chose it."""
        return old.endswith(f"/{FOLDER}" if self.storage else "/".join(path_of(self.address).parts[-2:]))


def find_move(uri: str, home: ArtefactHome) -> Move | None:
    """The move that MLflow's records have not followed yet; None if there is none. Changes nothing.

    Args:
        uri: of MLflow's database.

    Raises:
        SettingsError: the records name the folder of another home, whose files are not in this one.
        TrackingUnavailable: the database does not answer.
    """
    with _connected(uri) as connection:
        if not inspect(connection).has_table(EXPERIMENTS.name):
            return None
        recorded = select(EXPERIMENTS.c.artifact_location).where(EXPERIMENTS.c.name == home.experiment)
        old, new = connection.scalar(recorded), home.address
        if old is None or old == new or not home.may_have_been(old):
            return None  # none yet, the right one, or a place that somebody chose
        if not home.storage and not home.own_database and path_of(old).exists():
            return None  # the other home shares the database
        models = connection.scalars(_newest_models(old)).all()
    is_empty = not models and (home.own_database or home.storage is not None)
    if is_empty or any(home.has(model.removeprefix(old)) for model in models):
        return Move(old, new)
    raise SettingsError(_lost(old, home))


def record_move(uri: str, move: Move) -> None:
    """Let every record of MLflow's database follow a move, in one transaction.

    Raises:
        SettingsError: MLflow's tables cannot hold an address as long as the new one.
    """
    with _connected(uri) as connection, connection.begin():
        for name, address in ADDRESSES:
            moved = table(name, column(address, String))
            old = moved.c[address]
            below = or_(old == move.old, old.startswith(f"{move.old}/", autoescape=True))
            rest = func.substr(old, len(move.old) + 1, type_=String)
            try:
                connection.execute(update(moved).where(below).values({address: literal(move.new) + rest}))
            except DataError as error:  # some of these columns hold 200 characters
                raise SettingsError(
                    f"MLflow cannot record that {shown(move.old)} is {shown(move.new)} now: "
                    f"{' '.join(str(error.orig).split())}. Choose a home with a shorter path."
                ) from None


def path_of(address: str) -> Path:
    """The path of a `file:` address.

    >>> path_of("file:///srv/old%20home").as_posix()
    '/srv/old home'
    """
    return Path(url2pathname(urlparse(address).path))


def shown(address: str) -> str:
    """An address as people write it.

    >>> shown("file:///srv/old%20home"), shown("s3://bucket/models")
    ('/srv/old home', 's3://bucket/models')
    """
    return str(path_of(address)) if address.startswith("file:") else address


def _lost(old: str, home: ArtefactHome) -> str:
    start = f"MLflow's records say that the models are in {shown(old)}, but "
    if home.storage is not None:
        return (
            f"{start}CLEVERBETTER_STORAGE_URL means {shown(home.address)}, which has no such files. Nothing was "
            "changed. Copy them there, set CLEVERBETTER_STORAGE_URL to the place they are in, or begin anew under "
            "another MLFLOW_EXPERIMENT_NAME."
        )
    folder = path_of(home.address)
    return (
        f"{start}the home is {folder.parent.parent} now and has no such files in {folder}. Nothing was changed. Move "
        "or copy the folder there, set DAGSTER_HOME to the home it belongs to, or begin anew under another "
        "MLFLOW_EXPERIMENT_NAME."
    )


def _newest_models(old: str) -> Select[Any]:
    below = MODELS.c.artifact_location.startswith(f"{old}/", autoescape=True)
    newest_first = select(MODELS.c.artifact_location).where(below).order_by(MODELS.c.creation_timestamp_ms.desc())
    return newest_first.limit(MODELS_LOOKED_AT)


@contextmanager
def _connected(uri: str) -> Iterator[Connection]:
    engine = create_engine(uri)
    try:
        with noticing_absence(uri), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
