"""`cleverbetter backup` and `restore` say what they do, ask, and overwrite nothing without a flag."""

import json
import os
from pathlib import Path

import pytest

from cleverbetter_dagster.cli.output import ExitCode
from cleverbetter_dagster.cli.servers.database_lock import DatabaseLock
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.web.up_processes import ProcessRecord, UpRecord, record_path
from cleverbetter_dagster_tests.cli.conftest import Command, command_in
from cleverbetter_dagster_tests.store.backups.conftest import Seen, decide, source, target

__all__ = ["source", "target"]


@pytest.fixture
def command(source: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(source, monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "backup.tar")


def test_a_backup_says_what_it_holds_and_lacks(command: Command, file: str) -> None:
    done = command("backup", file)
    assert done.returncode == ExitCode.DONE
    assert "1 schema and 1 file," in done.stdout and "every hash is right" in done.stdout
    assert "backtest_results, ml_features, strategies" in done.stdout
    again = command("backup", file)
    assert again.returncode == ExitCode.USAGE and "add --overwrite" in again.stderr
    replaced = command("backup", file, "--overwrite", "--json")
    stored = json.loads(replaced.stdout)
    assert stored["files"] == 2 and stored["trees"]["artefacts"] == 1 and len(stored["left_out"]) == 2


def test_a_restore_needs_a_flag_to_overwrite(command: Command, source: Settings, file: str) -> None:
    command("backup", file)
    decide(source, 2)
    refused = command("restore", file, "--yes")
    assert refused.returncode == ExitCode.REFUSED
    assert "This is there now and would be gone:" in refused.stderr and "1 file in" in refused.stderr
    assert Seen.of(source) == Seen((2, 1), 2)
    assert command("restore", file, "--overwrite", answer="n\n").returncode == ExitCode.REFUSED
    assert Seen.of(source) == Seen((2, 1), 2)
    done = command("restore", file, "--overwrite", answer="y\n")
    assert done.returncode == ExitCode.DONE
    assert "schema cleverbetter of" in done.stderr and "is filled from the backup" in done.stderr
    assert Seen.of(source) == Seen((1,), 1)


def test_an_empty_deployment_needs_no_flag(
    command: Command, target: Settings, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("backup", file)
    done = command_in(target, monkeypatch)("restore", file, "--yes", "--json")
    assert done.returncode == ExitCode.DONE
    assert json.loads(done.stdout)["trees"]["artefacts"] == 1
    assert Seen.of(target) == Seen((1,), 1)


def test_nothing_is_restored_while_servers_run(command: Command, source: Settings, file: str) -> None:
    command("backup", file)
    UpRecord(ProcessRecord.of("up", os.getpid()), "token", ready=True, services=()).write(record_path(source))
    refused = command("restore", file, "--overwrite", "--yes")
    assert refused.returncode == ExitCode.FAILED and "cleverbetter down" in refused.stderr


def test_nothing_is_restored_while_a_daemon_works_elsewhere(command: Command, source: Settings, file: str) -> None:
    command("backup", file)
    elsewhere = DatabaseLock(source)
    elsewhere.hold()
    refused = command("restore", file, "--overwrite", "--yes")
    elsewhere.release()
    assert refused.returncode == ExitCode.FAILED and "has a `cleverbetter up` already" in refused.stderr
    assert command("restore", file, "--overwrite", "--yes").returncode == ExitCode.DONE


def test_a_file_that_is_no_backup_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "other.tar").write_text("no archive")
    refused = command("restore", str(tmp_path / "other.tar"))
    assert refused.returncode == ExitCode.FAILED and "is no backup" in refused.stderr
