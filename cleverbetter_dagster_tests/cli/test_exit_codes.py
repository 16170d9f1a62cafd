"""What commands end with: one table for all of them."""

import socket
from pathlib import Path

import pytest

from cleverbetter_dagster.cli.main import COMMANDS
from cleverbetter_dagster.cli.output import ExitCode
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster_tests.cli.conftest import Command, command_in

MONTHS = ("--from", "2023-01", "--to", "2023-02")
BAD_MONTHS = ("--from", "2023-13", "--to", "2023-14")
ROWS = REPOSITORY / "no such file.csv"

USAGE = {
    "demo": ("--strategies", "1"),
    "up": ("--port", "0"),
    "api": ("--port", "0"),
    "down": ("--now",),
    "worker": ("--slots", "0"),
    "status": ("--now",),
    "import": (),
    "train": ("ensemble", "--as-of", "2023-13"),
    "retrain": ("--as-of", "2023-13"),
    "tune": ("ensemble", "--as-of", "2023-13"),
    "backfill": BAD_MONTHS,
    "evaluate": ("ensemble", "--as-of", "2023-13"),
    "compare": ("--as-of", "December"),
    "report": ("--as-of", "2023-13"),
    "simulate-retraining": BAD_MONTHS,
    "predict": ("--as-of", "2023-13"),
    "explain": (),
    "promote": ("ensemble", "1", "--reason", " "),
    "rollback": ("--reason", " "),
    "history": ("--limit", "0"),
    "doctor": ("--now",),
    "serve": ("nosuch",),
    "backup": (str(REPOSITORY / "README.md"),),
    "restore": (),
    "reset": (),
    "settings": ("--now",),
}
"""By command, arguments that are wrong whatever is stored."""

AWAY = {
    "demo": (),
    "status": (),
    "import": ("--results", str(ROWS)),
    "train": ("ensemble",),
    "retrain": (),
    "tune": ("ensemble",),
    "backfill": MONTHS,
    "simulate-retraining": MONTHS,
    "predict": (),
    "explain": ("back_7",),
    "promote": ("ensemble", "1", "--reason", "r"),
    "rollback": ("--reason", "r"),
    "history": (),
    "backup": (str(REPOSITORY / "no such folder" / "backup.tar"),),
    "reset": ("--demo", "--yes"),
    "quarantine list": (),
}
"""By command, arguments with which it asks the database."""


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Commands of a deployment whose database does not answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = Settings(home=tmp_path, database_url=f"postgresql://ann@127.0.0.1:{port}/racing")  # type: ignore[arg-type]
    return command_in(settings, monkeypatch)


def test_every_command_has_a_case_of_wrong_usage() -> None:
    assert USAGE.keys() == {name for commands in COMMANDS.values() for name in commands}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage_ends_with_2_in_every_command(name: str, away: Command) -> None:
    done = away(name, *USAGE[name])
    assert done.returncode == ExitCode.USAGE, done


@pytest.mark.parametrize("name", AWAY)
def test_a_silent_database_ends_with_5_in_every_command(name: str, away: Command) -> None:
    done = away(*name.split(), *AWAY[name])
    assert done.returncode == ExitCode.UNAVAILABLE, done
