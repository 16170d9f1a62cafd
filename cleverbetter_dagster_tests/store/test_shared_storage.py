"""Artefacts, models and logs in one bucket of an S3 server, which may be slow, away, forbidding or hold half a file."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from cleverbetter_dagster.errors import ArtefactsUnavailable, DataError, ModelTampered, NotStored
from cleverbetter_dagster.services.doctor.doctor import CHECKS
from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.store import filesystems
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.tracking.client import experiment_id, mlflow_client
from cleverbetter_dagster.store.tracking.package import check_model, load_model
from cleverbetter_dagster.store.tracking.plain_files import TREE
from cleverbetter_dagster.store.tracking.runs import RunSpec, read_run_json, start_run
from cleverbetter_dagster_tests.cli.conftest import registered
from cleverbetter_dagster_tests.store.s3_server import S3Server, forget_clients, serving_s3
from cleverbetter_dagster_tests.store.test_dagster_storage import shouting
from cleverbetter_dagster_tests.store.tracking.test_package import MODEL, raw_rows

URI = "models:/ensemble/1"
PATH = "training_rows/2023-01.parquet"
ROWS = pa.table({"id": ["a", "b"], "roi": [0.1, -0.2]})


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch, serving_s3(patch) as s3:
        yield s3


@pytest.fixture
def store(server: S3Server) -> ArtefactStore:
    return ArtefactStore(server.url)


@pytest.fixture
def waits(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """How long was waited between tries; nobody waits, and botocore tries once."""
    waited: list[float] = []
    monkeypatch.setattr(filesystems, "sleep", waited.append)
    monkeypatch.setattr(filesystems, "monotonic", lambda: sum(waited))
    once = {"mode": "standard", "total_max_attempts": 1}
    monkeypatch.setattr(filesystems, "S3_BOUNDS", {**filesystems.S3_BOUNDS, "retries": once})
    monkeypatch.setattr(filesystems, "S3_TRIES", 1)
    yield waited
    server.faults.clear()
    server.is_away = bool


@pytest.fixture
def shared(empty_registry: Settings, server: S3Server, tmp_path: Path) -> Settings:
    """A home that keeps everything in the bucket, with one registered model."""
    settings = empty_registry.model_copy(
        update={"home": tmp_path, "storage_url": server.url, "mlflow_experiment_name": f"of {tmp_path.name}"}
    )
    assert registered(settings, "2023-06") == 1
    return settings


def place_of_model(settings: Settings) -> str:
    (path,) = [path for path in ArtefactStore(settings.storage_url or "").paths("mlartifacts") if path.endswith(TREE)]
    return path


def test_tables_come_back_from_a_bucket_as_they_were(store: ArtefactStore) -> None:
    store.write_table(PATH, ROWS)
    assert store.read_tables([PATH]).equals(ROWS)
    assert store.exists(PATH) and not store.exists("training_rows")
    assert store.names("training_rows", ".parquet") == ["2023-01"]
    assert store.paths("training_rows") == [PATH]
    with pytest.raises(NotStored):
        store.read_tables(["training_rows/2023-02.parquet"])


def test_the_trial_of_a_storage_leaves_nothing_behind(store: ArtefactStore) -> None:
    before = store.paths("")
    store.require_usable()
    assert store.paths("") == before


def test_a_missing_bucket_is_named_when_something_is_written(server: S3Server) -> None:
    with pytest.raises(ArtefactsUnavailable, match=r"s3://nosuch/x/a\.json cannot be written.*Make the bucket"):
        ArtefactStore("s3://nosuch/x").write_json("a.json", {})


def test_a_run_outlasts_a_minute_without_its_storage(server: S3Server, waits: list[float]) -> None:
    patient = ArtefactStore(server.url, filesystems.RUN_PATIENCE_SECONDS)
    server.is_away = lambda: sum(waits) < 60
    patient.write_json("late.json", {"n": 1})
    assert patient.read_json("late.json") == {"n": 1}
    server.is_away = lambda: True
    with pytest.raises(ArtefactsUnavailable, match="s3://racing/team cannot be reached"):
        patient.read_json("late.json")
    assert 160 < sum(waits) <= 180


def test_a_command_waits_for_no_storage_that_is_away(server: S3Server, waits: list[float]) -> None:
    server.is_away = lambda: True
    store = ArtefactStore(server.url)
    for use in (store.read_json, store.exists, store.paths, lambda folder: store.names(folder, ".json")):
        with pytest.raises(ArtefactsUnavailable, match=r"s3://racing/team cannot be reached.*CLEVERBETTER_STORAGE_URL"):
            use("a.json")
    assert waits == []


def test_a_storage_that_refuses_to_connect_is_named(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    forget_clients()
    with pytest.raises(ArtefactsUnavailable, match=r"s3://elsewhere cannot be reached.*127\.0\.0\.1:1"):
        ArtefactStore("s3://elsewhere").read_json("a.json")
    forget_clients()


def test_wrong_rights_are_named_at_once(server: S3Server, waits: list[float]) -> None:
    patient = ArtefactStore(server.url, filesystems.RUN_PATIENCE_SECONDS)
    for use in (lambda: patient.write_json("a.json", {}), lambda: patient.exists("a.json"), patient.require_usable):
        server.faults[:] = ["403 AccessDenied"] * 3
        with pytest.raises(ArtefactsUnavailable, match="credentials are right"):
            use()
        server.faults.clear()
    assert waits == []


def test_an_answer_that_breaks_off_is_asked_for_again(store: ArtefactStore, server: S3Server) -> None:
    store.write_table(PATH, ROWS)
    server.faults[:] = ["cut"]
    assert store.read_tables([PATH]).equals(ROWS)


def test_half_of_a_file_is_no_artefact(store: ArtefactStore) -> None:
    store.write_table(PATH, ROWS)
    whole = store.read_bytes(PATH)
    store.write_bytes(PATH, whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is no Parquet file"):
        store.read_tables([PATH])


def test_an_upload_that_was_cut_short_leaves_the_old_file(store: ArtefactStore) -> None:
    store.write_json("a.json", {"n": 1})
    s3 = store._filesystem.driver
    place = {"Bucket": "racing", "Key": "team/a.json"}
    upload = s3.call_s3("create_multipart_upload", **place)["UploadId"]
    s3.call_s3("upload_part", **place, UploadId=upload, PartNumber=1, Body=b"x" * (5 << 20))
    assert store.read_json("a.json") == {"n": 1}


def test_models_in_the_bucket_are_compared_with_their_hash(shared: Settings) -> None:
    assert load_model(shared, URI).predict(raw_rows()).equals(MODEL.predict(raw_rows()))
    assert not (shared.state_folder / "mlartifacts").exists()
    store, place = ArtefactStore(shared.storage_url or ""), place_of_model(shared)
    whole = store.read_bytes(place)
    store.write_bytes(place, whole[: len(whole) // 2])
    with pytest.raises(ModelTampered):
        check_model(shared, URI)


def test_the_doctor_says_what_the_bucket_holds(shared: Settings) -> None:
    (line,) = CHECKS["storage"](shared)
    assert line.level == "ok" and "mlartifacts" in line.message
    (line,) = CHECKS["storage"](shared.model_copy(update={"storage_url": "s3://racing/nothing"}))
    assert line.level == "warn" and "no such bucket" in line.message
    assert list(CHECKS["storage"](shared.model_copy(update={"storage_url": None}))) == []


def test_mlflow_itself_finds_the_files_in_the_bucket(shared: Settings, tmp_path: Path) -> None:
    with start_run(shared, RunSpec("ensemble", "2023-07", "abc")) as run:
        run.log_json("plots/a.json", {"auc": 0.7})
    assert read_run_json(shared, run.run_id, "plots/a.json") == {"auc": 0.7}
    client = mlflow_client(shared)
    assert [file.path for file in client.list_artifacts(run.run_id, "plots")] == ["plots/a.json"]
    assert '"auc": 0.7' in Path(client.download_artifacts(run.run_id, "plots/a.json", str(tmp_path))).read_text()


def test_models_copied_to_the_bucket_are_found_there(
    empty_registry: Settings, server: S3Server, tmp_path: Path
) -> None:
    alone = empty_registry.model_copy(update={"home": tmp_path, "mlflow_experiment_name": f"of {tmp_path.name}"})
    assert registered(alone, "2023-06") == 1
    together = alone.model_copy(update={"storage_url": f"{server.url}/copied"})
    with pytest.raises(Exception, match="CLEVERBETTER_STORAGE_URL means s3://racing/team/copied/mlartifacts"):
        load_model(together, URI)
    store = ArtefactStore(f"{server.url}/copied")
    for file in filter(Path.is_file, alone.state_folder.rglob("mlartifacts/**/*")):
        store.write_bytes(str(file.relative_to(alone.state_folder)), file.read_bytes())
    assert load_model(together, URI).predict(raw_rows()).equals(MODEL.predict(raw_rows()))
    assert mlflow_client(together).get_experiment(experiment_id(together)).artifact_location.startswith("s3://")


def test_what_runs_print_is_read_on_another_machine(
    environment: Settings, server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable_of("storage_url"), server.url)
    prepare_home(environment)
    with dg.DagsterInstance.get() as instance:
        run_id = shouting.execute_in_process(instance=instance).run_id
    other = tmp_path / "other"
    monkeypatch.setenv("DAGSTER_HOME", str(other))
    prepare_home(environment.model_copy(update={"home": other}))
    with dg.DagsterInstance.get() as instance:
        logs = instance.compute_log_manager
        (key,) = logs.get_log_keys_for_log_key_prefix([run_id, "compute_logs"], ComputeIOType.STDOUT)
        assert logs.get_log_data(key).stdout == b"hello from the op\n"
        logs.delete_logs(prefix=[run_id])
        assert logs.get_log_keys_for_log_key_prefix([run_id, "compute_logs"], ComputeIOType.STDOUT) == []
