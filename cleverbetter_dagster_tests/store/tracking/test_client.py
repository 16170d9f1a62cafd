"""Runs record what happened, whichever process starts first, and never a password."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from cleverbetter_dagster.errors import ModelNotFound, SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.tracking.client import experiment_id, mlflow_client, run_page, tracking_uri
from cleverbetter_dagster.store.tracking.places import artefact_folder
from cleverbetter_dagster.store.tracking.runs import RunSpec, close_left_runs, code_version, reopen_run, start_run

SPEC = RunSpec(
    family="ensemble",
    as_of="2023-12",
    data_hash="abc123",
    params={"learning_rate": 0.1, "layers": [8, 4], "kind": "rf"},
    tags={"note": "first"},
    dagster_run_id="d-1",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_run_carries_its_spec_and_ends_finished(tracked: Settings) -> None:
    with start_run(tracked, SPEC) as run:
        assert mlflow_client(tracked).get_run(run.run_id).info.status == "RUNNING"
    logged = mlflow_client(tracked).get_run(run.run_id)
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "ensemble 2023-12"
    assert logged.data.params == {"learning_rate": "0.1", "layers": "[8, 4]", "kind": "rf"}
    tags = {key: value for key, value in logged.data.tags.items() if not key.startswith("mlflow.")}
    assert tags == {
        "family": "ensemble",
        "as_of": "2023-12",
        "data_hash": "abc123",
        "git_commit": code_version(),
        "dagster.run_id": "d-1",
        "note": "first",
    }


def test_a_run_is_shown_below_its_parent(tracked: Settings) -> None:
    with start_run(tracked, SPEC) as parent:
        below = RunSpec("rl_agent", "2023-12", "abc123", parent_run_id=parent.run_id)
        with start_run(tracked, below) as child:
            pass
    assert mlflow_client(tracked).get_run(child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_error_fails_the_run_and_an_interrupt_kills_it(
    tracked: Settings, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), start_run(tracked, SPEC) as run:
        raise error
    assert mlflow_client(tracked).get_run(run.run_id).info.status == status


def test_what_a_killed_run_left_open_is_closed(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    client = mlflow_client(tracked)

    def left(tags: dict[str, str]) -> str:
        return str(client.create_run(experiment_id(tracked), tags=tags).info.run_id)

    model, whole = left(replace(SPEC, dagster_run_id="killed").all_tags()), left({"dagster_run_id": "killed"})
    living = left(replace(SPEC, dagster_run_id="living").all_tags())
    by_hand = left(replace(SPEC, dagster_run_id=None).all_tags())
    search = partial(client.search_runs, max_results=1)  # several pages
    monkeypatch.setattr("mlflow.MlflowClient.search_runs", lambda _, *args, **options: search(*args, **options))
    assert set(close_left_runs(tracked, lambda run_id: run_id == "killed")) == {model, whole}
    statuses = {run: client.get_run(run).info.status for run in (model, whole, living, by_hand)}
    assert statuses == {model: "KILLED", whole: "KILLED", living: "RUNNING", by_hand: "RUNNING"}


def test_a_run_reopened_takes_more_and_ends_again(tracked: Settings) -> None:
    with start_run(tracked, SPEC) as run:
        run.log_metrics({"fold_auc": 0.7})
    with reopen_run(tracked, run.run_id) as again:
        assert mlflow_client(tracked).get_run(run.run_id).info.status == "RUNNING"
        again.log_metrics({"test_auc": 0.74})
    logged = mlflow_client(tracked).get_run(run.run_id)
    assert logged.data.metrics == {"fold_auc": 0.7, "test_auc": 0.74}
    assert logged.info.status == "FINISHED"


def test_reopening_an_unknown_run_names_it(tracked: Settings) -> None:
    with pytest.raises(ModelNotFound, match="no run 'nosuch'"), reopen_run(tracked, "nosuch"):
        pass


def test_unknown_numbers_are_left_out_and_batches_are_joined(tracked: Settings) -> None:
    many = {f"m{number}": float(number) for number in range(1100)}
    with start_run(tracked, SPEC) as run:
        run.log_metrics({"nan": float("nan"), "inf": float("inf"), "none": None, **many})
        run.log_params({f"p{number}": number for number in range(150)})
    data = mlflow_client(tracked).get_run(run.run_id).data
    assert data.metrics == many
    assert data.params["p149"] == "149"


def test_artefacts_are_under_the_state_folder_from_any_folder(tracked: Settings, elsewhere: Path) -> None:
    with start_run(tracked, SPEC) as run:
        run.log_file("plots/roc.png", b"\x89PNG")
        run.log_file("report.html", "<p>ä</p>".encode())
        run.log_json("gate.json", {"promote": True, "low": float("nan")})
    folder = artefact_folder(tracked) / run.run_id / "artifacts"
    assert (folder / "plots" / "roc.png").read_bytes() == b"\x89PNG"
    assert (folder / "report.html").read_text() == "<p>ä</p>"
    assert json.loads((folder / "gate.json").read_text()) == {"promote": True, "low": None}
    assert list(elsewhere.iterdir()) == []


def test_no_global_address_or_run_is_left_behind(tracked: Settings) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    with start_run(tracked, SPEC):
        assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before


def test_a_deleted_experiment_is_restored(tracked: Settings) -> None:
    experiment = experiment_id(tracked)
    mlflow_client(tracked).delete_experiment(experiment)
    assert experiment_id(tracked) == experiment
    assert mlflow_client(tracked).get_experiment(experiment).lifecycle_stage == "active"


def test_many_clients_at_once_share_one_experiment(tracked: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        experiments = set(pool.map(lambda _: experiment_id(tracked), range(8)))
    assert len(experiments) == 1


def test_two_processes_create_the_tables_at_once(first_two_starters: list[tuple[int, str, str]]) -> None:
    assert [code for code, *_ in first_two_starters] == [0, 0], first_two_starters
    assert len({output for _, output, _ in first_two_starters}) == 1


def test_the_password_is_in_no_log_or_table(tracked: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert tracked.database_url is not None
    password = make_url(tracked.database_url.get_secret_value()).password
    assert isinstance(password, str)
    with caplog.at_level("DEBUG"), start_run(tracked, SPEC) as run:
        run.log_metrics({"auc": 0.7})
        run.log_file("a.txt", b"text")
    assert password in tracking_uri(tracked)
    assert password not in caplog.text
    with psycopg_connect(tracked, "mlflow") as connection:
        tables = ("tags", "params", "runs", "experiments", "experiment_tags")
        records = [str(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
    assert any("abc123" in row for row in records)
    assert not any(password in row for row in records)


def test_an_address_mlflow_cannot_use_is_named_without_its_password(tracked: Settings) -> None:
    settings = tracked.model_copy(update={"mlflow_tracking_uri": "nosuch://user:hunter2@host/x"})
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_URI") as caught:
        mlflow_client(settings)
    assert "hunter2" not in str(caught.value)


def test_a_plain_postgresql_address_gets_the_driver_mlflow_knows(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path).model_copy(update={"mlflow_tracking_uri": "postgresql://user@host/x"})
    assert tracking_uri(settings) == "postgresql+cleverbetter://user@host/x?connect_timeout=10"
    assert tracking_uri(settings.model_copy(update={"mlflow_tracking_uri": "http://host:5000"})) == "http://host:5000"


def test_an_address_that_was_prepared_stays_as_it_is(tracked: Settings) -> None:
    prepared = tracking_uri(tracked)
    again = tracked.model_copy(update={"mlflow_tracking_uri": prepared})
    assert tracking_uri(again) == prepared
    assert mlflow_client(again).get_experiment("0").name == "Default"


def test_a_link_to_a_run_holds_no_password(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleverbetter_dagster.store.tracking.client.experiment_id", lambda _: "7")
    page = "/#/experiments/7/runs/r/artifacts/reports/ensemble.html"
    assert run_page(tracked, "r", "reports/ensemble.html") == f"http://127.0.0.1:{tracked.mlflow_port}{page}"
    served = tracked.model_copy(update={"mlflow_tracking_uri": "https://ann:hunter2@mlflow.example:8443/ui/"})
    assert run_page(served, "r", "reports/ensemble.html") == f"https://mlflow.example:8443/ui{page}"
