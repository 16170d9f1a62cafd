"""Every command that needs MLflow says which variable and address do not answer; the others work without it."""

import json
import time

import dagster as dg
import pytest

from cleverbetter_dagster.cli.models.launch import dagster_instance
from cleverbetter_dagster.services.champion.manual_promotion import DecisionContext, promote, review
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.cli.conftest import Command, command_in, registered

SENTENCE = "MLflow does not answer at http://127.0.0.1:1 (MLFLOW_TRACKING_URI)"
PATIENCE_SECONDS = 20.0


@pytest.fixture
def command(empty_registry: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`cleverbetter` on a registry with a champion, whose MLflow went down since."""
    ensure_source_tables(empty_registry)
    for as_of in ("2023-05", "2023-06"):
        version = registered(empty_registry, as_of)
        decision = DecisionContext("first", "a test", override_gate=True)
        promote(empty_registry, review(empty_registry, "ensemble", version, judge=False), decision)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:hunter2@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return command_in(empty_registry, monkeypatch)


@pytest.mark.parametrize(
    "arguments",
    [
        "train ensemble --as-of 2023-06",
        "train ensemble --incremental",
        "backfill --from 2023-05 --to 2023-06",
        "demo",
        "promote ensemble 1 --reason mine --yes",
        "promote ensemble 1 --reason mine --override-gate --yes",
        "rollback --reason mine --yes",
    ],
)
def test_a_command_that_needs_mlflow_names_it(command: Command, empty_registry: Settings, arguments: str) -> None:
    started = time.monotonic()
    done = command(*arguments.split())
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert (done.returncode, SENTENCE in done.stderr) == (5, True), done
    assert "hunter2" not in done.stdout + done.stderr
    with dagster_instance(empty_registry) as instance:
        assert instance.get_runs(dg.RunsFilter()) == []


def test_status_and_doctor_name_an_mlflow_that_is_away(command: Command) -> None:
    state = json.loads(command("status", "--json").stdout)
    assert SENTENCE in state["mlflow_trouble"]
    done = command("status")
    assert (done.returncode, SENTENCE in done.stderr) == (5, True), done
    assert "the server of MLFLOW_TRACKING_URI (cannot be used)" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    lines = {line["name"]: line for line in json.loads(command("doctor", "--json").stdout)}
    assert (lines["MLflow"]["level"], SENTENCE in lines["MLflow"]["message"]) == ("fail", True)
    assert (lines["champion"]["level"], lines["champion"]["remedy"]) == ("warn", "First mend: MLflow.")


def test_the_ledgers_history_needs_no_mlflow(command: Command) -> None:
    done = command("history", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 2
