"""Dagster's own storage: in the one database and under the state folder, whichever process asks."""

from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import serialize_value

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.services.doctor.doctor import CHECKS
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster.store import home
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.postgres.database import psycopg_connect


@dg.op
def shout() -> None:
    print("hello from the op")


@dg.job
def shouting() -> None:
    shout()


def test_runs_and_logs_are_in_database_and_state_folder(environment: Settings) -> None:
    folder = prepare_home(environment)
    with dg.DagsterInstance.get() as instance:
        result = shouting.execute_in_process(instance=instance)
        assert instance.get_run_by_id(result.run_id) is not None
    with closing(psycopg_connect(environment, "rows")) as connection:
        events = connection.execute("SELECT count(*) FROM dagster.event_logs WHERE run_id = %s", [result.run_id])
        assert (events.fetchone() or (0,))[0] > 0
    captured = [path.read_text() for path in environment.state_folder.rglob("*.out")]
    assert captured == ["hello from the op\n"]
    assert {path.name for path in folder.iterdir()} == {"dagster.yaml", environment.state_folder.name}


def test_what_dagster_passes_on_in_argument_lists_holds_no_password(environment: Settings) -> None:
    prepare_home(environment)
    ref = serialize_value(InstanceRef.from_dir(str(environment.home)))
    assert environment.database_url is not None
    password = environment.database_url.get_secret_value().partition("@")[0].rpartition(":")[2]
    assert password not in ref
    with dg.DagsterInstance.get() as instance:
        assert password not in serialize_value(instance.get_ref())


def test_the_instance_is_the_one_dagster_yaml_describes(environment: Settings) -> None:
    prepare_home(environment)
    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        pools = instance.get_concurrency_config().pool_config
        assert (pools.pool_granularity.value, pools.default_pool_limit) == ("op", 1)


def test_repository_and_new_home_have_the_same_dagster_yaml(tmp_path: Path) -> None:
    folder = prepare_home(Settings(home=tmp_path / "a" / "home"))
    first, _, rest = (folder / "dagster.yaml").read_text().partition("\n")
    assert first.startswith("# Copied by cleverbetter")
    assert rest == (REPOSITORY / "dagster.yaml").read_text()


def test_an_old_copy_is_renewed_unless_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings, file = Settings(home=tmp_path), tmp_path / "dagster.yaml"
    with monkeypatch.context() as earlier:
        earlier.setattr(home, "_template", lambda: "telemetry: {enabled: false}\n")
        prepare_home(settings)
    old = file.read_text()
    assert home.is_ours(settings) and not home.is_current(settings)
    assert [found.level for found in CHECKS["home"](settings) if found.name == "instance"] == ["warn"]
    prepare_home(settings)
    assert home.is_current(settings) and "StateRunCoordinator" in file.read_text()
    assert not [found for found in CHECKS["home"](settings) if found.name == "instance"]
    assert not caplog.records
    file.write_text(old + "nux: {enabled: false}\n")
    prepare_home(settings)
    assert file.read_text() == old + "nux: {enabled: false}\n"
    assert "is not what this release comes with" in caplog.text


def test_a_homes_own_dagster_yaml_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    prepare_home(Settings(home=tmp_path))
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: true}\n"


def test_a_home_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"Cannot use .*file/home \(DAGSTER_HOME\)"):
        prepare_home(Settings(home=tmp_path / "file" / "home"))
