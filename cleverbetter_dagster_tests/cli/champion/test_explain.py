"""`cleverbetter explain`, on a deployment that has advised stakes."""

import json

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster_tests.cli.conftest import Command, command_in
from cleverbetter_dagster_tests.services.overview.advised import HOSTILE, advised


@pytest.fixture(scope="module")
def deployment(tracked: Settings) -> Settings:
    advised(tracked)
    return tracked


@pytest.fixture
def command(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(deployment, monkeypatch)


def test_a_stake_is_explained_step_by_step(deployment: Settings, command: Command) -> None:
    best = read_predictions(deployment).iloc[0]
    done = command("explain", best["strategy_id"])
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        f"{best['recommended_stake']:.2%} of the bankroll",
        "full Kelly",
        "cap on one strategy",
        "shrunk_return",
        "Past predictions",
        "3 of them were scored after their window had closed.",
        "Past windows",
    ):
        assert text in done.stdout


def test_programs_get_the_same_as_json(deployment: Settings, command: Command) -> None:
    best = read_predictions(deployment).iloc[0]
    told = json.loads(command("explain", best["strategy_id"], "--json").stdout)
    today = told["methods"][0]["today"]
    assert today["stake"] == today["reasons"]["steps"][-1]["stake"] == best["recommended_stake"]
    assert [one["roi"] is None for one in told["methods"][0]["predictions"]] == [True, False, False, False]


def test_a_hostile_id_is_shown_and_obeyed_by_no_terminal(command: Command) -> None:
    done = command("explain", HOSTILE)
    assert done.returncode == 0
    assert "<script>alert('x')</script> a/b%2F?c#d" in done.stdout
    assert "[/]" in done.stdout
    assert "\u202e" not in done.stdout


def test_a_strategy_nobody_knows_ends_with_4(command: Command) -> None:
    done = command("explain", "no such strategy")
    assert (done.returncode, done.stdout) == (4, "")
    assert "Nothing is known of a strategy 'no such strategy'" in done.stderr
