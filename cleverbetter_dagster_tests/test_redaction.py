"""A password in any setting leaves the process at no exit: commands, the REST API, what Dagster stores."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest

from cleverbetter_dagster.cli.main import main
from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.failures import each_month, step_failures
from cleverbetter_dagster.errors import DatabaseUnavailable, RegistryError
from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome
from cleverbetter_dagster.redaction import redacted, without_secrets
from cleverbetter_dagster.settings import Settings, load_settings, may_hold_a_secret, variable_of
from cleverbetter_dagster.settings_file import FILE_NAME, FILE_VARIABLE
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.api.conftest import served

SECRET = "Tr0ub4dor"
TOKEN = f"{SECRET}-and-longer"
AWAY: dict[str, str] = {
    "DATABASE_URL": f"postgresql://ann:{SECRET}@127.0.0.1:1/racing",
    "DAGSTER_DATABASE_URL": f"postgresql://ann:{SECRET}@127.0.0.1:1/dagster",
    "OPTUNA_DATABASE_URL": f"postgresql://ann:{SECRET}@127.0.0.1:1/optuna",
    "CLEVERBETTER_STATE_DATABASE_URL": f"postgresql://ann@127.0.0.1:1/state?password={SECRET}",
    "MLFLOW_TRACKING_URI": f"http://ann:{SECRET}@127.0.0.1:1",
    "CLEVERBETTER_ARTEFACTS_URL": f"nosuch://ann:{SECRET}@127.0.0.1/bucket",
    "CLEVERBETTER_WORKERS_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
    "CLEVERBETTER_ALERT_WEBHOOK": f"http://127.0.0.1:1/{SECRET}",
    "CLEVERBETTER_ALERT_URLS": f"json://ann:{SECRET}@127.0.0.1:1 tgram://{SECRET}/42 slack://A/{SECRET}x/C/#bets",
    "CLEVERBETTER_API_TOKEN": TOKEN,
}
COMMANDS = (
    "status",
    "doctor",
    "settings",
    "history",
    "compare",
    "train ensemble",
    "tune ensemble",
    "evaluate ensemble",
    "predict",
    "report",
    "promote ensemble 1 --reason x --yes",
    "rollback --reason x --yes",
    "backfill --from 2023-01 --to 2023-02",
    "quarantine list",
    "import --results nothing.csv",
    "simulate-retraining --from 2023-01 --to 2023-02",
    "alerts test",
    "backup backup.tar",
)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every service is away, and a password stands in every setting that can hold one."""
    for name, value in AWAY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(load_settings())
    return tmp_path


def files_with_the_secret(folder: Path) -> list[str]:
    return [str(file) for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_shows_a_password_or_a_traceback(
    away: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cleverbetter", *command.split()])
    monkeypatch.chdir(away)
    with pytest.raises(SystemExit):
        main()
    shown = "".join(capsys.readouterr())
    assert shown
    assert SECRET not in shown
    assert "Traceback" not in shown
    assert files_with_the_secret(away) == []


@pytest.mark.parametrize("command", ["settings", "history", "alerts test"])
def test_no_command_shows_a_password_of_the_settings_file(
    away: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    file = away / FILE_NAME
    file.touch(0o600)
    with file.open("w") as text:
        for field in filter(may_hold_a_secret, Settings.model_fields):
            monkeypatch.delenv(variable_of(field))
            text.write(f"{field} = {json.dumps(AWAY[variable_of(field)])}\n")
    monkeypatch.setattr("sys.argv", ["cleverbetter", *command.split()])
    with suppress(SystemExit):
        main()
    shown = "".join(capsys.readouterr())
    assert shown
    assert SECRET not in shown
    assert "Traceback" not in shown
    assert files_with_the_secret(away) == [str(file)]


def test_an_error_nobody_expected_is_shown_without_the_password(
    away: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise ValueError(f"cannot reach {AWAY['MLFLOW_TRACKING_URI']}")

    monkeypatch.setattr("cleverbetter_dagster.cli.servers.status.collect", broken)
    monkeypatch.setattr("sys.argv", ["cleverbetter", "status"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert "cannot reach http://ann:***@127.0.0.1:1" in shown
    assert SECRET not in shown


@pytest.mark.parametrize("path", ["models", "models/champion", "models/training", "predictions", "ready", "nosuch"])
def test_the_api_shows_no_password(away: Path, path: str) -> None:
    with served(load_settings()) as api:
        answer = api.get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code in (404, 503)
    assert SECRET not in answer.text


def _registry_error() -> None:
    raise RegistryError(f"the server {AWAY['MLFLOW_TRACKING_URI']} refuses")


def _error_with_a_cause() -> None:
    try:
        raise ConnectionError(f"no route to {AWAY['CLEVERBETTER_ARTEFACTS_URL']}")
    except ConnectionError as error:
        raise DatabaseUnavailable("does not answer") from error


def _error_of_a_library() -> None:
    raise KeyError(AWAY["CLEVERBETTER_ALERT_WEBHOOK"])


@pytest.mark.parametrize("fault", [_registry_error, _error_with_a_cause, _error_of_a_library])
def test_dagster_stores_no_password(away: Path, fault: Callable[[], None]) -> None:
    @dg.asset
    def broken() -> None:
        with step_failures():
            fault()

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([broken], instance=instance, raise_on_error=False)
        stored = [str(entry) for entry in instance.all_logs(result.run_id)]
    assert not result.success
    assert any("STEP_FAILURE" in text for text in stored)
    assert not any(SECRET in text for text in stored)


def test_metadata_and_checks_hold_no_password(away: Path) -> None:
    said = f"no route to {AWAY['MLFLOW_TRACKING_URI']}"
    outcome = CheckOutcome(passed=False, message=said, facts={"address": said, "rows": 3})
    check: Check[str] = Check("a_fact", "A fact.", "Mend it.", lambda _: outcome)
    metadata = {"text": said, "table": dg.MetadataValue.md(said), "page": dg.MetadataValue.url(said), "rows": 3}

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["2023-01"]), check_specs=check_specs([check], "shown"))
    def shown(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        results = each_month(context, [("2023-01", said)], lambda _: metadata)
        return dg.MaterializeResult(check_results=check_results([check], results))

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([shown], instance=instance, partition_key="2023-01")
        stored = [str(entry) for entry in instance.all_logs(result.run_id)]
    assert sum("no route to http://ann:***@127.0.0.1:1" in text for text in stored) >= 2
    assert not any(SECRET in text for text in stored)


def test_mlflow_stores_no_password(away: Path, tracked: Settings) -> None:
    said = f"no route to {AWAY['MLFLOW_TRACKING_URI']}"
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        run.set_tags({"said": said})
        run.log_params({"said": said, "all": [said]})
    data = mlflow_client(tracked).get_run(run.run_id).data
    assert SECRET not in f"{data.tags} {data.params}"
    assert "ann:***@" in data.tags["said"] and "ann:***@" in data.params["all"]


def test_an_error_without_a_secret_stays_the_same(away: Path) -> None:
    error = ValueError("win_rate is 7")
    with pytest.raises(ValueError, match="win_rate is 7") as caught, without_secrets():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+psycopg2://ann:p%40ss@db:5432/x", "postgresql+psycopg2://ann:***@db:5432/x"),
        ("host=db password=hunter2 user=ann", "host=db password=*** user=ann"),
        ("s3://bucket?secret_key=abc&region=x", "s3://bucket?secret_key=***&region=x"),
        ("tgram://123456:AAE is refused", "tgram://123456:AAE is refused"),
        ("no secret: a@b.example, 12:30", "no secret: a@b.example, 12:30"),
    ],
)
def test_passwords_are_known_by_their_place(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_the_variables_that_may_hold_a_secret_are_all_planted() -> None:
    assert {variable_of(field) for field in Settings.model_fields if may_hold_a_secret(field)} <= set(AWAY)
