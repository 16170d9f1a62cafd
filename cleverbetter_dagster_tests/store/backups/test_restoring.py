"""A restore does all or nothing, and touches nothing that is not ours."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cleverbetter_dagster.errors import BackupError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.backups import restoring
from cleverbetter_dagster.store.backups.archive import ArchiveReader
from cleverbetter_dagster.store.backups.making import make_backup
from cleverbetter_dagster.store.backups.restoring import plan_restore, restore_backup
from cleverbetter_dagster.store.backups.sessions import OpenTransaction
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.store.backups.conftest import Seen, decide, leftovers
from cleverbetter_dagster_tests.store.backups.test_making import interrupting

ROLE = "cleverbetter_test_reader"


@pytest.fixture
def archive(source: Settings, tmp_path: Path) -> ArchiveReader:
    """A backup of `source` at version 1."""
    make_backup(source, tmp_path / "backup.tar")
    return ArchiveReader(tmp_path / "backup.tar")


@pytest.fixture
def occupied(target: Settings) -> Settings:
    """A deployment at version 5."""
    decide(target, 5)
    return target


def execute(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def test_an_empty_deployment_gets_what_the_backup_has(archive: ArchiveReader, target: Settings) -> None:
    plan = plan_restore(target, archive.manifest)
    assert plan.occupied == ()
    assert any("schema cleverbetter of" in line and "is filled from the backup" in line for line in plan.lines)
    restore_backup(target, archive)
    assert Seen.of(target) == Seen((1,), 1)
    decide(target, 2)  # its sequences go on
    assert Seen.of(target) == Seen((2, 1), 2)
    assert leftovers(target) == []


def test_what_is_there_is_named_and_then_replaced(archive: ArchiveReader, occupied: Settings) -> None:
    (occupied.state_folder / "artefacts" / "later.json").write_text("{}")
    tables, files = plan_restore(occupied, archive.manifest).occupied
    assert "(tables, views, sequences) in schema cleverbetter" in tables
    assert files.startswith("2 files in ")
    restore_backup(occupied, archive)
    assert Seen.of(occupied) == Seen((1,), 1)
    assert not (occupied.state_folder / "artefacts" / "later.json").exists()


def test_tables_that_are_not_ours_stay(source: Settings, archive: ArchiveReader, occupied: Settings) -> None:
    execute(occupied, "CREATE TABLE backtest_results AS SELECT 1 AS mine")
    restore_backup(occupied, archive)
    assert execute(occupied, "SELECT mine FROM backtest_results") == [(1,)]


def test_a_schema_that_was_empty_is_emptied(archive: ArchiveReader, occupied: Settings) -> None:
    with closing(psycopg_connect(occupied, "optuna", autocommit=True)) as connection:
        connection.execute("CREATE TABLE studies ()")
    assert any(
        "schema optuna" in line and "is emptied" in line for line in plan_restore(occupied, archive.manifest).lines
    )
    restore_backup(occupied, archive)
    assert execute(occupied, "SELECT to_regclass('optuna.studies')") == [(None,)]


@pytest.mark.parametrize("step", ["unpacking", "filling schema cleverbetter", "filling schema optuna"])
def test_an_interrupted_restore_changes_nothing(archive: ArchiveReader, occupied: Settings, step: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        restore_backup(occupied, archive, interrupting(step))
    assert Seen.of(occupied) == Seen((5,), 5)
    assert leftovers(occupied) == []


def test_a_commit_that_fails_puts_the_files_back(
    archive: ArchiveReader, occupied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: OpenTransaction) -> None:
        raise BackupError("the server went away")

    monkeypatch.setattr(OpenTransaction, "commit", refused)
    with pytest.raises(BackupError, match="the server went away"):
        restore_backup(occupied, archive)
    assert Seen.of(occupied) == Seen((5,), 5)
    assert leftovers(occupied) == []


def test_a_table_that_others_hold_is_told_of(
    archive: ArchiveReader, occupied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "LOCK_SECONDS", 0.1)
    with closing(psycopg_connect(occupied, "state")) as reader:
        reader.execute("SELECT * FROM current_champion")
        with pytest.raises(BackupError, match=r"psql failed on .*lock timeout"):
            restore_backup(occupied, archive)
    assert Seen.of(occupied) == Seen((5,), 5)


def test_a_changed_archive_changes_nothing(archive: ArchiveReader, occupied: Settings, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(file.read_bytes().replace(b'"version": 1', b'"version": 7'))
    with pytest.raises(BackupError, match="its hash differs"):
        restore_backup(occupied, archive)
    assert Seen.of(occupied) == Seen((5,), 5)
    assert leftovers(occupied) == []


@pytest.fixture
def reader(occupied: Settings) -> Iterator[None]:
    """A role that may read who is champion."""
    grant = f"GRANT USAGE ON SCHEMA cleverbetter TO {ROLE}; GRANT SELECT ON cleverbetter.current_champion TO {ROLE}"
    with closing(psycopg_connect(occupied, "state", autocommit=True)) as connection:
        connection.execute(f"CREATE ROLE {ROLE}")
        try:
            connection.execute(grant)
            yield
        finally:
            connection.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


def test_others_keep_their_rights(archive: ArchiveReader, occupied: Settings, reader: None) -> None:
    restore_backup(occupied, archive)
    query = f"SELECT has_table_privilege('{ROLE}', 'cleverbetter.current_champion', 'SELECT'), "
    assert execute(occupied, f"{query} has_schema_privilege('{ROLE}', 'cleverbetter', 'USAGE')") == [(True, True)]


def test_rights_of_roles_that_are_missing_are_told(occupied: Settings, reader: None, tmp_path: Path) -> None:
    manifest = make_backup(occupied, tmp_path / "b.tar")
    (dump,) = manifest.dumps.values()
    assert {(grant.table, grant.role, grant.privilege) for grant in dump.grants} == {
        (None, ROLE, "USAGE"),
        ("current_champion", ROLE, "SELECT"),
    }
    gone = tuple(grant.model_copy(update={"role": "gone"}) for grant in dump.grants)
    renamed = manifest.model_copy(update={"dumps": {"state": dump.model_copy(update={"grants": gone})}})
    assert any("Rights of gone on it are not given" in line for line in plan_restore(occupied, renamed).lines)


def test_views_of_others_that_would_be_dropped_are_named(archive: ArchiveReader, occupied: Settings) -> None:
    execute(occupied, "CREATE VIEW public.mine AS SELECT * FROM cleverbetter.current_champion")
    with pytest.raises(BackupError, match=r"would be dropped with it: public.mine"):
        restore_backup(occupied, archive)
    assert Seen.of(occupied) == Seen((5,), 5)


def test_a_deployment_that_cannot_hold_it_is_refused(archive: ArchiveReader, target: Settings) -> None:
    elsewhere = target.model_copy(update={"artefacts_url": "memory://x"})
    with pytest.raises(BackupError, match="CLEVERBETTER_ARTEFACTS_URL or CLEVERBETTER_STORAGE_URL puts them"):
        restore_backup(elsewhere, archive)


def test_settings_that_an_older_server_lacks_are_left_out(tmp_path: Path) -> None:
    script = tmp_path / "state.sql"
    script.write_text("SET statement_timeout = 0;\nSET transaction_timeout = 0;\nCREATE TABLE a ();\n" * 40)
    restoring._without_settings(script, ["transaction_timeout"])
    lines = script.read_text().splitlines()
    assert "SET transaction_timeout = 0;" not in lines[:40]
    assert lines.count("CREATE TABLE a ();") == 40  # rows of a table may look like anything
    assert lines.count("SET transaction_timeout = 0;") == 20
