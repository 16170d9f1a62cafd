"""The settings file: what is in it holds unless the environment says otherwise, and what is wrong in it is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cleverbetter_dagster.cli.settings_table import rows
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.redaction import redacted
from cleverbetter_dagster.setting_sources import sources, unread_variables
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.settings_file import FILE_NAME, FILE_VARIABLE

SECRET = "Tr0ub4dor"
URL = f"postgresql://ann:{SECRET}@127.0.0.1:1/racing"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings file of the home is to be, mode 0600 and empty."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    return path


def test_values_of_the_file_hold(file: Path) -> None:
    file.write_text(
        f'poll_seconds = 5\nautomation = false\ndatabase_url = "{URL}"\nmlflow_experiment_name = "bets"\n'
        'left_out_methods = ["b", "a"]\nalert_urls = ["json://127.0.0.1/a", "json://127.0.0.1/b c"]\n'
    )
    settings = load_settings()
    assert (settings.poll_seconds, settings.automation, settings.mlflow_experiment_name) == (5, False, "bets")
    assert settings.database_url is not None and settings.database_url.get_secret_value() == URL
    assert settings.left_out_methods == ("a", "b")
    assert [url.get_secret_value()[-3:] for url in settings.alert_urls] == ["1/a", "b c"]


@pytest.mark.parametrize(
    ("line", "variable", "value", "field"),
    [
        ("poll_seconds = 5", "CLEVERBETTER_POLL_SECONDS", "7", "poll_seconds"),
        ('mlflow_experiment_name = "file"', "MLFLOW_EXPERIMENT_NAME", "7", "mlflow_experiment_name"),
    ],
)
def test_the_environment_wins_unless_it_is_blank(
    file: Path, monkeypatch: pytest.MonkeyPatch, line: str, variable: str, value: str, field: str
) -> None:
    file.write_text(line)
    of_file = getattr(load_settings(), field)
    assert sources()[field] == "file"
    monkeypatch.setenv(variable, value)
    assert str(getattr(load_settings(), field)) == value != str(of_file)
    assert sources()[field] == "environment"
    monkeypatch.setenv(variable, "")
    assert getattr(load_settings(), field) == of_file
    assert sources()[field] == "file"


def test_a_variable_names_another_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("poll_seconds = 5")
    (tmp_path / "other.toml").write_text("poll_seconds = 6")
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "other.toml"))
    assert load_settings().poll_seconds == 6
    assert FILE_VARIABLE not in unread_variables()


def test_a_home_that_is_given_has_its_own_file(file: Path, tmp_path: Path) -> None:
    file.write_text("poll_seconds = 5")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / FILE_NAME).write_text("poll_seconds = 6")
    assert Settings(home=tmp_path / "demo").poll_seconds == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("poll_secnds = 5", "poll_secnds: there is no such setting; did you mean poll_seconds?"),
        ("CLEVERBETTER_POLL_SECONDS = 5", "CLEVERBETTER_POLL_SECONDS: there is no such setting; did you mean poll_sec"),
        ("[server]\nport = 1", "server: there is no such setting"),
        ('home = "/x"', "home: The file is found by it, so it is set as DAGSTER_HOME only"),
        ("poll_seconds = true", "poll_seconds: it is true, and takes neither true nor false"),
        (
            "poll_seconds = 0",
            r"poll_seconds in \S+cleverbetter.toml \(Look for .*equal to 1 \(the value is 0",
        ),
        ("poll_seconds = ", r"is no TOML: Invalid value \(at .*Write lines such as"),
        (f'database_url = "mysql://ann:{SECRET}@db"', r"database_url in \S+cleverbetter.toml holds a URL of 'mysql'"),
        (f'alert_urls = ["{SECRET}"]', r"alert_urls in \S+cleverbetter.toml .*number 1 of 1 is no URL"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_shown(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("named", ["other.toml", "/nosuch/other.toml"])
def test_a_file_named_but_missing_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE_VARIABLE, named)
    with pytest.raises(SettingsError, match=rf"{FILE_VARIABLE} .*{named}"):
        load_settings()


def test_a_file_with_secrets_that_others_may_read_is_refused(file: Path) -> None:
    file.write_text(f'database_url = "{URL}"')
    for mode in (0o604, 0o644, 0o660):
        file.chmod(mode)
        with pytest.raises(
            SettingsError, match=rf"holds secrets \(database_url\).*mode {mode:04o}.*chmod 600"
        ) as caught:
            load_settings()
        assert SECRET not in str(caught.value)
    file.write_text("poll_seconds = 5")
    assert load_settings().poll_seconds == 5  # no secret, so anybody may read it


def test_a_group_may_read_what_root_owns(file: Path) -> None:
    file.write_text(f'database_url = "{URL}"')
    file.chmod(0o640)
    if os.geteuid() == 0:
        assert load_settings().database_url is not None
    else:
        with pytest.raises(SettingsError, match="mode 0640"):
            load_settings()


def test_secrets_of_the_file_are_scrubbed_from_messages(file: Path) -> None:
    file.write_text(f'api_token = "{SECRET}-and-longer"\nalert_urls = ["tgram://12345678:AA{SECRET}/42"]')
    text = redacted(f"refused: {SECRET}-and-longer, AA{SECRET}")
    assert text == "refused: ***, ***"
    assert SECRET not in repr(load_settings()) + repr(rows(load_settings()))


def test_the_table_says_where_each_value_comes_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("poll_seconds = 5\nmin_new_rows = 7")
    monkeypatch.setenv("CLEVERBETTER_MIN_NEW_ROWS", "8")
    shown = {row.variable: (row.value, row.source) for row in rows(load_settings())}
    assert shown["CLEVERBETTER_POLL_SECONDS"] == ("5", "file")
    assert shown["CLEVERBETTER_MIN_NEW_ROWS"] == ("8", "environment")
    assert shown["CLEVERBETTER_RECENT_DAYS"] == ("7", "default")


def test_a_program_reads_the_file_of_its_home(file: Path) -> None:
    file.write_text("poll_seconds = 5")
    command = [sys.executable, "-m", "cleverbetter_dagster.cli.main", "settings", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=file.parent)
    (row,) = (row for row in json.loads(done.stdout) if row["variable"] == "CLEVERBETTER_POLL_SECONDS")
    assert (row["value"], row["source"]) == ("5", "file")
