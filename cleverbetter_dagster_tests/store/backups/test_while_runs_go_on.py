"""Backups taken while models are logged, registered and promoted restore to models that load and verify."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from pydantic import SecretStr

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.backups.archive import ArchiveReader
from cleverbetter_dagster.store.backups.making import make_backup
from cleverbetter_dagster.store.backups.restoring import restore_backup
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.files import verified_files
from cleverbetter_dagster_tests.cli.conftest import registered
from cleverbetter_dagster_tests.store.backups.conftest import RECORD, decide
from cleverbetter_dagster_tests.support.new_database import new_database
from cleverbetter_dagster_tests.support.tracked_database import PROCESS

BACKUPS = 2


class Runs(Thread):
    """Logs and registers a model, records a decision and writes its artefact, again and again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self._settings, self._ended = settings, Event()
        self.versions: list[int] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._ended.wait(0.05):  # a run does other things too
                version = registered(self._settings, "2023-12")
                decide(self._settings, version)
                self.versions.append(version)
        except Exception as error:  # noqa: BLE001  the test looks at it
            self.error = error

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture
def runs(empty_registry: Settings) -> Iterator[Runs]:
    decide(empty_registry, registered(empty_registry, "2023-12"))
    going_on = Runs(empty_registry)
    going_on.start()
    yield going_on
    going_on.end()


def test_every_backup_restores_to_one_instant(
    runs: Runs, empty_registry: Settings, postgres: ServerAddress, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.tar" for number in range(BACKUPS)]
    written = []
    for file in files:
        make_backup(empty_registry, file)
        written.append(len(runs.versions))
    runs.end()
    assert runs.error is None
    assert written[-1] > written[0], "nothing was written meanwhile"
    for number, file in enumerate(files):
        with new_database(postgres, f"instant_{PROCESS}_{number}") as url:
            restored = Settings(home=tmp_path / f"home{number}", database_url=SecretStr(url))
            restore_backup(restored, ArchiveReader(file))
            check(restored)


def check(settings: Settings) -> None:
    """Each registered model has its files, unchanged; ledger and artefact differ by one step of a run at most."""
    versions = mlflow_client(settings).search_model_versions("name='ensemble'")
    assert versions
    for version in versions:
        assert verified_files(settings, f"models:/ensemble/{version.version}")
    decided = [entry.version for entry in ledger.history(settings)]
    assert set(decided) <= {int(version.version) for version in versions}
    artefact = ArtefactStore(settings.artefacts_base).read_json(RECORD)["version"]
    assert artefact in decided[:2], (artefact, decided)
