"""`cleverbetter alerts test` sends one message to each channel, and says which took it without showing an address."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cleverbetter_dagster.cli.output import ExitCode
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.cli.conftest import Done, command_in
from cleverbetter_dagster_tests.support.webhook_server import SECRET_PATH, Webhook, webhook_server


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook_server() as served:
        yield served


def run(tmp_path: Path, patch: pytest.MonkeyPatch, *arguments: str) -> Done:
    """The command in a home of its own; it asks no database."""
    return command_in(Settings(home=tmp_path, database_url="postgresql://127.0.0.1:1/x"), patch)("alerts", *arguments)  # type: ignore[arg-type]


def test_each_channel_gets_one_message(hook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_ALERT_WEBHOOK", hook.address)
    monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", hook.apprise_url)
    done = run(tmp_path, monkeypatch, "test")
    assert done.returncode == ExitCode.DONE
    assert done.stdout.count("took it") == 2
    assert [body.get("text") or body["message"] for body in hook.bodies] == [
        "This is a test by `cleverbetter alerts test`. Alerts of this deployment arrive here."
    ] * 2


def test_a_channel_that_fails_is_named_and_ends_with_5(
    hook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "CLEVERBETTER_ALERT_URLS", f"{hook.apprise_url} json://127.0.0.1:1{SECRET_PATH} nosuch://T0SECRET"
    )
    done = run(tmp_path, monkeypatch, "test", "--json")
    assert done.returncode == ExitCode.UNAVAILABLE
    first, second, third = json.loads(done.stdout)
    assert first["trouble"] is None
    assert second["trouble"] == "the json service was not reached, or did not take the message"
    assert "scheme is unknown" in third["trouble"]
    assert "2 of 3 channels" in done.stderr and "CLEVERBETTER_ALERT_URLS" in done.stderr
    assert "T0SECRET" not in done.stdout + done.stderr


def test_without_a_channel_the_settings_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(tmp_path, monkeypatch, "test")
    assert done.returncode == ExitCode.FAILED
    assert "Set CLEVERBETTER_ALERT_URLS" in done.stderr
