"""A backup is of one instant, whole or not there, and says what is not in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleverbetter_dagster.errors import BackupError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.backups import making
from cleverbetter_dagster.store.backups.archive import ArchiveReader
from cleverbetter_dagster.store.backups.making import left_out, make_backup, one_at_a_time
from cleverbetter_dagster.store.backups.restoring import restore_backup
from cleverbetter_dagster_tests.store.backups.conftest import RECORD, Seen, decide, leftovers


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup.tar"


def interrupting(at: str) -> Callable[[str], None]:
    def say(step: str) -> None:
        if at in step:
            raise KeyboardInterrupt

    return say


def test_a_backup_is_whole_and_for_us_alone(source: Settings, file: Path) -> None:
    manifest = make_backup(source, file)
    assert set(manifest.dumps) == {"state"}
    assert manifest.trees == {"artefacts": 1, "mlartifacts": 0, "dagster": 0}
    assert set(manifest.members) == {"state.dump", f"files/artefacts/{RECORD}"}
    assert file.stat().st_mode & 0o777 == 0o600
    ArchiveReader(file).verify()
    assert leftovers(source) == []


def test_what_a_run_writes_meanwhile_is_in_all_or_nothing(
    source: Settings, target: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    link = making.link

    def interfering(*arguments: Any) -> None:
        link(*arguments)
        if not tries:
            decide(source, 2)  # after the snapshot, after its file was linked
        tries.append(1)

    monkeypatch.setattr(making, "link", interfering)
    monkeypatch.setattr(making, "FIRST_PAUSE_SECONDS", 0.0)
    said: list[str] = []
    make_backup(source, file, said.append)
    assert any("another snapshot" in step for step in said)
    restore_backup(target, ArchiveReader(file))
    assert Seen.of(target) == Seen((2, 1), 2)


def test_what_is_written_after_the_snapshot_is_left_out(source: Settings, target: Settings, file: Path) -> None:
    def say(step: str) -> None:
        if "dumping" in step:
            decide(source, 2)

    make_backup(source, file, say)
    assert Seen.of(source) == Seen((2, 1), 2)
    restore_backup(target, ArchiveReader(file))
    assert Seen.of(target) == Seen((1,), 1)


def test_runs_that_write_all_the_time_are_told_of(
    source: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(100))
    store = ArtefactStore(source.artefacts_base)
    monkeypatch.setattr(making, "link", lambda *_: store.write_json(RECORD, {"version": next(numbers)}))
    monkeypatch.setattr(making, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(making, "MOST_TRIES", 3)
    with pytest.raises(BackupError, match="In each of 3 tries a run wrote files"):
        make_backup(source, file)
    assert next(numbers) == 9
    assert not file.exists() and leftovers(source) == []


@pytest.mark.parametrize("step", ["snapshot", "dumping", "adding", "reading it again"])
def test_an_interrupted_backup_leaves_nothing(source: Settings, file: Path, step: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_backup(source, file, interrupting(step))
    assert list(file.parent.glob("backup*")) == []
    assert leftovers(source) == []


def test_an_interrupted_backup_leaves_the_file_it_replaces(source: Settings, file: Path) -> None:
    file.write_text("the last one")
    with pytest.raises(KeyboardInterrupt):
        make_backup(source, file, interrupting("adding"))
    assert file.read_text() == "the last one"


def test_a_folder_that_is_missing_is_named(source: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"Cannot write the backup \S+nosuch/b.tar.*No such file"):
        make_backup(source, tmp_path / "nosuch" / "b.tar")


def test_two_at_once_are_refused(source: Settings, file: Path) -> None:
    with one_at_a_time(source), pytest.raises(BackupError, match="Another backup or restore"):
        make_backup(source, file)


def test_what_is_not_in_it_is_told(source: Settings, tmp_path: Path) -> None:
    rows, settings = left_out(source)
    assert "backtest_results, ml_features, strategies" in rows and "cleverbetter.toml" in settings
    elsewhere = Settings(home=tmp_path, mlflow_tracking_uri="http://127.0.0.1:1", artefacts_url="memory://x")
    runs, assets = left_out(elsewhere)[2:]
    assert runs.startswith("Runs and models are at MLFLOW_TRACKING_URI")
    assert assets.startswith("The files of the assets are in a storage elsewhere")
    (both,) = left_out(Settings(home=tmp_path, storage_url="s3://bucket/prefix"))[2:]
    assert both.startswith("The files of the assets and MLflow are in a storage elsewhere")


def test_an_archive_that_was_changed_or_cut_off_is_refused(source: Settings, file: Path) -> None:
    make_backup(source, file)
    content = file.read_bytes()
    at = content.index(b'"version": 1')
    file.write_bytes(content[:at] + b'"version": 7' + content[at + 12 :])
    with pytest.raises(BackupError, match=rf"files/artefacts/{RECORD} in .* was changed: its hash differs"):
        ArchiveReader(file).verify()
    manifest = content.rindex(b"manifest.json\0")  # behind it tar fills up to a whole record
    for length in (0, 100, manifest // 2, manifest + 700):
        file.write_bytes(content[:length])
        with pytest.raises(BackupError, match="is no backup, or was cut off"):
            ArchiveReader(file)
    with pytest.raises(BackupError, match=r"Cannot read .*nosuch.tar: No such file"):
        ArchiveReader(file.with_name("nosuch.tar"))
