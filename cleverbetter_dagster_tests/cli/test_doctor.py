"""`cleverbetter doctor` on a healthy and on broken set-ups."""

import json
import socket
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from psycopg import sql

from cleverbetter_dagster.dataset.quality.left_out import LeftOut, NonNumeric, with_left_out
from cleverbetter_dagster.services.champion.manual_promotion import DecisionContext, promote, review
from cleverbetter_dagster.services.doctor import doctor, stores
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster.store.tracking.places import artefact_folder
from cleverbetter_dagster.store.tracking.plain_files import TREE
from cleverbetter_dagster_tests.cli.conftest import command_in, registered


def levels(patch: pytest.MonkeyPatch, settings: Settings, **variables: str) -> tuple[int, dict[str, str], str]:
    """Exit code, level by check, and everything that was written."""
    command = command_in(settings, patch)
    for name, value in variables.items():
        patch.setenv(name, value)
    done = command("doctor", "--json")
    return done.returncode, {one["name"]: one["level"] for one in json.loads(done.stdout)}, done.stdout + done.stderr


@pytest.fixture
def healthy(database: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    ensure_source_tables(database)
    monkeypatch.setattr(doctor, "requires", lambda _: ["rich>=1"])
    monkeypatch.setattr(doctor, "LITTLE_DISK_GIB", 0.0)
    monkeypatch.setattr(doctor, "LEAST_DISK_GIB", 0.0)
    return database


def test_a_healthy_deployment_passes_and_is_not_changed(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, level, _ = levels(monkeypatch, healthy)
    assert code == 0
    names = ("home", "disk", "variables", "packages", "database", "tables", "clock", "MLflow", "champion")
    assert {level[name] for name in names} == {"ok"}
    with closing(psycopg_connect(healthy, "rows")) as connection:
        for schema in ("cleverbetter", "dagster", "mlflow", "optuna"):
            assert connection.execute("SELECT to_regnamespace(%s)", [schema]).fetchone() == (None,)


def test_a_database_that_does_not_answer(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, level, output = levels(monkeypatch, healthy, DATABASE_URL="postgresql://ann:Tr0ub4dor@127.0.0.1:1/x")
    assert (code, level["database"]) == (1, "fail")
    assert output.count("Check that its server runs") == 1  # one cause is described once
    assert {level[name] for name in ("rights", "MLflow", "champion")} == {"warn"}
    assert "Tr0ub4dor" not in output


def test_a_table_without_a_needed_column(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(psycopg_connect(healthy, "rows", autocommit=True)) as connection:
        connection.execute("ALTER TABLE backtest_results DROP COLUMN win_rate")
    code, level, output = levels(monkeypatch, healthy)
    assert (code, level["database"], level["tables"]) == (1, "ok", "fail")
    assert "lacks columns that backtest rows need" in output and "win_rate" in output


def test_a_role_without_rights(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert healthy.database_url is not None
    with closing(psycopg_connect(healthy, "rows", autocommit=True)) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        connection.execute("GRANT SELECT ON backtest_results, ml_features TO reader")
        url = healthy.database_url.get_secret_value()
        theirs = "postgresql://reader:reader@" + url.split("@", 1)[1]
        code, level, output = levels(monkeypatch, healthy, DATABASE_URL=theirs)
        connection.execute(sql.SQL("DROP OWNED BY reader; DROP ROLE reader"))
    assert (code, level["tables"], level["schema cleverbetter"]) == (1, "ok", "fail")
    assert "GRANT USAGE, CREATE ON SCHEMA cleverbetter TO reader" in output


def test_an_mlflow_server_that_is_away(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, level, output = levels(monkeypatch, healthy, MLFLOW_TRACKING_URI="http://ann:Tr0ub4dor@127.0.0.1:1")
    assert (code, level["MLflow"]) == (1, "fail")
    assert "Tr0ub4dor" not in output


def test_a_full_disk_a_wrong_package_and_a_wrong_clock(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK_GIB", 1e9)
    monkeypatch.setattr(doctor, "requires", lambda _: ["rich<1", "no-such-package"])
    monkeypatch.setattr(stores, "CLOCK_FAIL_SECONDS", -1.0)
    code, level, _ = levels(monkeypatch, healthy)
    assert (code, level["disk"], level["packages"], level["clock"]) == (1, "fail", "fail", "fail")


def test_a_home_that_is_a_file_and_a_busy_port(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        home = healthy.model_copy(update={"home": tmp_path / "file"})
        code, level, output = levels(monkeypatch, home, CLEVERBETTER_API_PORT=port)
    assert (code, level["home"], level["port of the API"], level["port of Dagster"]) == (1, "fail", "warn", "ok")
    assert "set CLEVERBETTER_API_PORT" in output


@pytest.mark.parametrize(
    ("misspelt", "remedy"),
    [
        ("CLEVERBETTER_TREADS", "Did you mean CLEVERBETTER_THREADS?"),
        ("CLEVERBETTER_API_TOKENS", "Did you mean CLEVERBETTER_API_TOKEN?"),
        ("CLEVERBETTER_XYZZY_PLUGH", "`cleverbetter settings` lists all variables."),
    ],
)
def test_an_unknown_variable_is_named_with_its_likely_meaning(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, misspelt: str, remedy: str
) -> None:
    code, level, output = levels(monkeypatch, healthy, **{misspelt: "Tr0ub4dor", "CLEVERBETTER_UP": "ours"})
    assert (code, level["variables"]) == (0, "warn")
    assert misspelt in output and remedy in output
    assert "Tr0ub4dor" not in output


def test_mlflows_tables_of_another_release(empty_registry: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _, level, _ = levels(monkeypatch, empty_registry)
    assert level["MLflow"] == "ok"
    with closing(psycopg_connect(empty_registry, "mlflow")) as connection:
        kept = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = 'of_yesterday'")
        connection.commit()
        code, level, output = levels(monkeypatch, empty_registry)
        connection.execute("UPDATE alembic_version SET version_num = %s", kept)
        connection.commit()
    assert (code, level["MLflow"]) == (1, "fail")
    assert "of_yesterday" in output and "mlflow db upgrade" in output


def test_the_champions_files_are_compared_with_their_hash(
    empty_registry: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registered(empty_registry, "2023-06")
    grounds = DecisionContext("first", "a test", override_gate=True)
    promote(empty_registry, review(empty_registry, "ensemble", version, judge=False), grounds)
    _, level, output = levels(monkeypatch, empty_registry)
    assert (level["champion"], "its files are unchanged" in output) == ("ok", True)
    (file,) = artefact_folder(empty_registry).rglob(TREE)
    file.write_bytes(file.read_bytes() + b" ")  # the same model, but not the same file
    code, level, output = levels(monkeypatch, empty_registry)
    assert (code, level["champion"]) == (1, "fail")
    assert "cleverbetter rollback" in output


def test_a_moved_home_is_named_and_not_changed(empty_registry: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"mlflow_experiment_name": "moved", "home": empty_registry.home / "old"}
    old = empty_registry.model_copy(update=named)
    version = registered(old, "2023-06")
    grounds = DecisionContext("first", "a test", override_gate=True)
    promote(old, review(old, "ensemble", version, judge=False), grounds)
    old.home.rename(old.home.with_name("new"))
    new = old.model_copy(update={"home": old.home.with_name("new")})
    for _ in range(2):
        _, level, output = levels(monkeypatch, new, MLFLOW_EXPERIMENT_NAME="moved")
        assert (level["MLflow"], level["champion"]) == ("warn", "warn")
        assert f"its records name {artefact_folder(old)}" in output


def test_features_left_out_of_the_newest_month_are_named(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    store, rows = ArtefactStore(healthy.artefacts_base), pa.table({"id": ["a"]})
    texts = LeftOut(non_numeric={"country": NonNumeric(values=60, example="AU")})
    store.write_table("training_rows/2023-04.parquet", rows)
    assert levels(monkeypatch, healthy)[1]["market features"] == "ok"
    store.write_table("training_rows/2023-05.parquet", with_left_out(rows, texts))
    code, level, output = levels(monkeypatch, healthy)
    assert (code, level["market features"]) == (0, "warn")
    assert "left out of 2023-05: values that are no numbers: country (60, such as 'AU')" in output
