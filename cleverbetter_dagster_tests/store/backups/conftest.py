"""What the tests of backups share: a deployment with a decision and an artefact, and an empty one beside it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.table import Decision, ensure_ledger, insert
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster_tests.support.new_database import new_database
from cleverbetter_dagster_tests.support.tracked_database import PROCESS

_names = (f"restored_{PROCESS}_{number}" for number in count())
RECORD = "champion/2023-12.json"


def decide(settings: Settings, version: int) -> None:
    """Record a decision, then write the artefact that belongs to it."""
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        ensure_ledger(connection)
        insert(connection, "promoted", Decision("ensemble", version, "run", "2023-12", "a test", "a test"), None)
    ArtefactStore(settings.artefacts_base).write_json(RECORD, {"version": version})


@dataclass(frozen=True)
class Seen:
    """What a deployment holds: versions in the ledger, newest first, and the version in the artefact."""

    versions: tuple[int, ...]
    artefact: int | None

    @classmethod
    def of(cls, settings: Settings) -> "Seen":
        store = ArtefactStore(settings.artefacts_base)
        artefact = store.read_json(RECORD)["version"] if store.exists(RECORD) else None
        return cls(tuple(entry.version for entry in ledger.history(settings)), artefact)


def leftovers(settings: Settings) -> list[str]:
    """What an interrupted backup or restore could leave in the state folder."""
    marks = ("backup-*", "*.restoring-*", "*.replaced-*", "*.part")
    return [str(path) for mark in marks for path in settings.state_folder.rglob(mark)]


@pytest.fixture
def source(database: Settings) -> Settings:
    """A deployment whose ledger and artefact say version 1."""
    decide(database, 1)
    return database


@pytest.fixture
def target(postgres: ServerAddress, tmp_path: Path) -> Iterator[Settings]:
    """An empty deployment."""
    with new_database(postgres, next(_names)) as url:
        yield Settings(home=tmp_path / "target", database_url=SecretStr(url))
