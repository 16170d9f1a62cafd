"""The command line as a whole: quick help, clean errors, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from cleverbetter_dagster.cli import main
from cleverbetter_dagster.settings import load_settings

SLOW = {"pandas", "numpy", "sqlalchemy", "psycopg", "dagster", "mlflow", "sklearn", "lightgbm", "optuna", "pyarrow"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cleverbetter_dagster.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment or None)


def test_help_names_every_command_and_loads_nothing_slow() -> None:
    script = (
        "import sys; from cleverbetter_dagster.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: print('loaded:', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    help_text, _, loaded = done.stdout.rpartition("loaded:")
    assert all(command in help_text for command in ("demo", "up", "down", "status", "import"))
    assert SLOW.isdisjoint(loaded.split())


def test_an_error_is_one_clean_message_and_exit_code_1(tmp_path: Path) -> None:
    done = run("status", DAGSTER_HOME=str(tmp_path), DATABASE_URL="mysql://ann:Tr0ub4dor@db/racing")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: DATABASE_URL holds a URL of 'mysql'.")
    assert "Traceback" not in done.stderr
    assert "Tr0ub4dor" not in done.stderr + done.stdout


def test_wrong_usage_is_exit_code_2() -> None:
    assert run("no-such-command").returncode == 2


def test_an_interruption_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    app = main.typer.Typer()
    app.command()(interrupted)
    monkeypatch.setattr(main, "app", app)
    monkeypatch.setattr(sys, "argv", ["cleverbetter"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 130


def test_the_home_is_dagsters_not_the_persons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    assert load_settings().home != tmp_path / "person"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    assert load_settings().home == tmp_path / "dagster"
