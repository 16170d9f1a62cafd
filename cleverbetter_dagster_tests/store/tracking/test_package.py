"""A packed model answers raw rows as it did before it was packed, and is not opened once its files were touched."""

import io
import os
import pickle
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest
import yaml

from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import (
    DatabaseUnavailable,
    DataError,
    ModelNotFound,
    ModelOutdated,
    ModelTampered,
    RegistryError,
)
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.tracking import package
from cleverbetter_dagster.store.tracking.client import mlflow_client, tracking_uri
from cleverbetter_dagster.store.tracking.files import contents_sha256, files_below
from cleverbetter_dagster.store.tracking.model_hashes import record_hash
from cleverbetter_dagster.store.tracking.package import (
    PackedModel,
    StrategyModel,
    load_model,
    log_model,
)
from cleverbetter_dagster.store.tracking.raw_rows import canonical_rows
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.support.provenance import NOTHING_LEARNED
from cleverbetter_dagster_tests.support.storable import storable

FEATURES = ("win_rate", "ewm_roi", "ml_avg_odds", "shrunk_return")


@storable
class LinearModel(FittedModel):
    """A logistic function of four features with numbers that have no short decimal form."""

    family = "ensemble"

    def __init__(self) -> None:
        self.feature_names = FEATURES
        self.weights = np.random.default_rng(7).normal(size=len(FEATURES))

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        probability = 1 / (1 + np.exp(-np.nan_to_num(values) @ self.weights))
        return {"probability": probability, "score": probability**2, "confidence": np.abs(2 * probability - 1)}

    def feature_importance(self) -> pd.Series:
        return pd.Series(np.abs(self.weights) / np.abs(self.weights).sum(), index=list(FEATURES))

    def report(self) -> dict[str, float | int | str]:
        return {}


def raw_rows(windows: int = 6) -> pd.DataFrame:
    """Rows of five strategies as the upstream tables give them: `total_return`, whole bet counts, further columns."""
    random = np.random.default_rng(1)
    start = pd.date_range("2023-01-01", periods=windows, freq="MS", tz="UTC").repeat(5)
    n = len(start)
    return pd.DataFrame(
        {
            "id": [f"row-{i}" for i in range(n)],
            "strategy_id": [f"s{i % 5}" for i in range(n)],
            "method": "walk_forward",
            "start_date": start,
            "end_date": start + pd.Timedelta(days=30),
            "run_date": start + pd.Timedelta(days=31),
            "total_return": random.normal(0, 0.1, n),
            "sharpe_ratio": random.normal(0, 1, n),
            "max_drawdown": random.uniform(0, 0.5, n),
            "win_rate": random.uniform(0, 1, n),
            "profit_factor": np.where(np.arange(n) % 7 == 0, 999.0, 1.1),
            "total_bets": random.integers(1, 400, n),
            "composite_score": random.uniform(0, 1, n),
            "ml_avg_odds": np.where(np.arange(n) % 4 == 0, np.nan, 3.5),
            "recommendation": "keep",
        }
    ).sample(frac=1.0, random_state=3)


MODEL = StrategyModel(LinearModel(), DatasetSpec(), NOTHING_LEARNED)


@pytest.fixture(scope="module")
def packed(tracked: Settings) -> PackedModel:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        return log_model(run, MODEL)


def files_of(settings: Settings, packed: PackedModel) -> Path:
    logged = mlflow_client(settings).get_logged_model(packed.model_uri.removeprefix("models:/"))
    return Path(urlparse(logged.artifact_location).path)


def test_raw_rows_score_as_their_panel_does() -> None:
    rows = raw_rows()
    panel = build_panel(canonical_rows(rows, ["ml_avg_odds"]), None, DatasetSpec())
    expected = MODEL.fitted.predict_frame(panel.set_index("id"))
    predictions = MODEL.predict(rows.set_index("id", drop=False))
    pd.testing.assert_frame_equal(predictions, expected.loc[rows["id"]], check_names=False, check_exact=True)


def test_rows_keep_their_order_and_a_repeated_index() -> None:
    rows = raw_rows()
    repeated = rows.set_axis([0] * len(rows))
    predictions = MODEL.predict(repeated)
    assert list(predictions.index) == [0] * len(rows)
    assert predictions.to_numpy().tolist() == MODEL.predict(rows).to_numpy().tolist()


Otherwise = Callable[[pd.DataFrame], pd.DataFrame]


def as_objects(odds: pd.Series) -> list[str]:
    return ["{}" if np.isnan(value) else f'{{"avg_odds": {value}}}' for value in odds]


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda rows: rows.rename(columns={"total_return": "roi"}),
        lambda rows: rows.assign(start_date=rows["start_date"].dt.tz_localize(None)),
        lambda rows: rows.assign(end_date=rows["end_date"].dt.strftime("%Y-%m-%dT%H:%M:%S%z")),
        lambda rows: rows.assign(total_bets=rows["total_bets"].astype(str)),
        lambda rows: rows.drop(columns="method"),
        lambda rows: rows.rename(columns={"ml_avg_odds": "avg_odds"}),
        lambda rows: rows.assign(features=as_objects(rows["ml_avg_odds"])).drop(columns="ml_avg_odds"),
    ],
    ids=["roi", "naive dates", "text dates", "text numbers", "no method", "features without prefix", "JSON"],
)
def test_rows_may_come_as_a_source_happens_to_give_them(otherwise: Otherwise) -> None:
    rows = raw_rows()
    pd.testing.assert_frame_equal(MODEL.predict(otherwise(rows)), MODEL.predict(rows), check_exact=True)


def test_rows_that_cannot_be_scored_say_why() -> None:
    with pytest.raises(DataError, match="lack win_rate"):
        MODEL.predict(raw_rows().drop(columns="win_rate"))
    with pytest.raises(DataError, match="lack roi"):
        MODEL.predict(raw_rows().drop(columns="total_return"))
    with pytest.raises(DataError, match=r"Row 1, id 'row-\d+': win_rate is not a number"):
        MODEL.predict(raw_rows().assign(win_rate="often"))


def test_rows_without_a_market_feature_are_refused_by_its_name() -> None:
    with pytest.raises(DataError, match=r"lack 1 market features of the model: ml_avg_odds.*with or without ml_"):
        MODEL.predict(raw_rows().drop(columns="ml_avg_odds"))


def test_fewer_rows_than_the_model_learned_from_are_refused() -> None:
    rows = raw_rows()
    learned = replace(NOTHING_LEARNED, learned=Fingerprints(np.arange(len(rows), dtype=np.uint64)))
    model = StrategyModel(LinearModel(), DatasetSpec(), learned)
    assert len(model.predict(rows)) == len(rows)
    newest = rows.sort_values("end_date").groupby("strategy_id").tail(1)
    with pytest.raises(DataError, match=r"5 rows are not the whole history.*learned from 30.*s0 \(1\)"):
        model.predict(newest)
    assert len(model.predict(newest, {"part_of_history": True})) == 5


def test_rows_are_not_changed_by_scoring_them() -> None:
    rows = raw_rows()
    MODEL.predict(rows)
    pd.testing.assert_frame_equal(rows, raw_rows())


def test_a_loaded_model_answers_bit_by_bit_as_before(tracked: Settings, packed: PackedModel) -> None:
    loaded = load_model(tracked, packed.model_uri)
    pd.testing.assert_frame_equal(loaded.predict(raw_rows()), MODEL.predict(raw_rows()), check_exact=True)
    assert loaded.spec == MODEL.spec
    assert loaded.feature_names == FEATURES


def test_a_fresh_process_answers_bit_by_bit_as_before(tracked: Settings, packed: PackedModel, tmp_path: Path) -> None:
    raw_rows().to_pickle(tmp_path / "rows.pickle")
    code = (
        "import sys, pandas as pd\n"
        "import cleverbetter_dagster_tests.store.tracking.test_package\n"
        "from cleverbetter_dagster.settings import load_settings\n"
        "from cleverbetter_dagster.store.tracking.package import load_model\n"
        "rows = pd.read_pickle(sys.argv[2] + '/rows.pickle')\n"
        "load_model(load_settings(), sys.argv[1]).predict(rows).to_pickle(sys.argv[2] + '/mine.pickle')\n"
        "import mlflow\n"
        "mlflow.pyfunc.load_model(sys.argv[3]).predict(rows).to_pickle(sys.argv[2] + '/theirs.pickle')\n"
    )
    assert tracked.database_url is not None
    subprocess.run(
        [sys.executable, "-c", code, packed.model_uri, str(tmp_path), str(files_of(tracked, packed))],
        env={
            **os.environ,
            "DAGSTER_HOME": str(tracked.home),
            "DATABASE_URL": tracked.database_url.get_secret_value(),
            "MLFLOW_TRACKING_URI": tracking_uri(tracked),
            "PYTHONPATH": str(REPOSITORY),
        },
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    for name in ("mine", "theirs"):
        predictions = pd.read_pickle(tmp_path / f"{name}.pickle")
        pd.testing.assert_frame_equal(predictions, MODEL.predict(raw_rows()), check_exact=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.pickle", "rows.pickle", "theirs.pickle"]


@pytest.fixture
def mlflow_of_tracked(tracked: Settings) -> Iterator[None]:
    """MLflow's own functions meet the deployment's server in this process, as they do where a person has set it."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(tracked))
    yield
    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow leaves it there


def test_the_signature_names_required_and_optional_columns(
    tracked: Settings, packed: PackedModel, mlflow_of_tracked: None, in_environment: None
) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    model = mlflow.pyfunc.load_model(str(files_of(tracked, packed)))
    columns = {column.name: column.required for column in model.metadata.signature.inputs}
    assert columns["win_rate"] is True
    assert columns["total_return"] is columns["roi"] is columns["ml_avg_odds"] is columns["method"] is False
    assert model.metadata.signature.outputs.input_names() == ["probability", "score", "confidence"]
    with pytest.raises(MlflowException, match="win_rate"):
        model.predict(raw_rows().drop(columns="win_rate"))


def test_run_and_version_record_the_models_hash(tracked: Settings, packed: PackedModel) -> None:
    client = mlflow_client(tracked)
    logged = client.get_logged_model(packed.model_uri.removeprefix("models:/"))
    assert logged.source_run_id is not None
    run = client.get_run(logged.source_run_id)
    assert run.outputs is not None
    registry = Registry(tracked)
    version = registry.get_version("ensemble", registry.register(logged.source_run_id, "ensemble"))
    assert logged.tags["model_sha256"] == run.data.tags["model_sha256"] == version.sha256 == packed.sha256
    assert str(logged.status) == "READY"
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    loaded = load_model(tracked, version.model_uri)
    pd.testing.assert_frame_equal(loaded.predict(raw_rows()), MODEL.predict(raw_rows()), check_exact=True)


def set_trap(package: Path, sprung: Path) -> None:
    """Let the `MLmodel` of a package name a loader of the attacker, whose code lies beside it and leaves a trace."""
    (package / "code").mkdir()
    loader = f"trap_{secrets.token_hex(4)}"
    (package / "code" / f"{loader}.py").write_text(f"import os; os.mkdir({str(sprung)!r})")
    written = yaml.safe_load((package / "MLmodel").read_text())
    written["flavors"]["python_function"] |= {"loader_module": loader, "code": "code"}
    (package / "MLmodel").write_text(yaml.safe_dump(written))


def test_a_changed_model_is_refused_before_anything_of_it_runs(tracked: Settings, tmp_path: Path) -> None:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    set_trap(files_of(tracked, packed), tmp_path / "sprung")
    with pytest.raises(ModelTampered, match=f"{packed.sha256} was recorded"):
        load_model(tracked, packed.model_uri)
    assert not (tmp_path / "sprung").exists()


def test_loading_never_follows_the_loader_that_mlmodel_names(tracked: Settings, tmp_path: Path) -> None:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    set_trap(files_of(tracked, packed), tmp_path / "sprung")
    with psycopg_connect(tracked, "state", autocommit=True) as connection:  # even if its hash were right
        connection.execute(
            "UPDATE model_hashes SET sha256 = %s WHERE model_id = %s",
            [contents_sha256(files_below(files_of(tracked, packed))), packed.model_uri.removeprefix("models:/")],
        )
    assert load_model(tracked, packed.model_uri).feature_names == FEATURES
    assert not (tmp_path / "sprung").exists()


def test_mlflows_own_loading_refuses_a_changed_model_too(
    tracked: Settings, tmp_path: Path, mlflow_of_tracked: None, in_environment: None
) -> None:
    import mlflow

    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    assert mlflow.pyfunc.load_model(packed.model_uri).predict(raw_rows()).shape == (30, 3)
    with (files_of(tracked, packed) / "data" / "model" / "model.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ModelTampered):
        mlflow.pyfunc.load_model(packed.model_uri)
    set_trap(files_of(tracked, packed), tmp_path / "sprung")  # what MLflow runs before us is not ours to refuse
    with pytest.raises(AttributeError, match="_load_pyfunc"):
        mlflow.pyfunc.load_model(packed.model_uri)
    assert (tmp_path / "sprung").exists()


def test_a_model_holds_no_pickle(tracked: Settings, packed: PackedModel) -> None:
    contents = files_below(files_of(tracked, packed))
    assert {name for name in contents if name.startswith("data/")} == {
        "data/model/model.json",
        "data/model/arrays.npz",
    }
    with np.load(io.BytesIO(contents["data/model/arrays.npz"]), allow_pickle=False) as arrays:
        assert not any(array.dtype.hasobject for array in arrays.values())


@pytest.mark.parametrize("name", ["model.pkl", "model.json"])
def test_a_model_of_a_release_that_stored_pickles_is_outdated(
    tracked: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mlflow_of_tracked: None,
    in_environment: None,
    name: str,
) -> None:
    import mlflow

    class Sprung:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    monkeypatch.setattr(package, "plain_files", lambda *_: {name: pickle.dumps(Sprung())})
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    with pytest.raises(ModelOutdated, match="train it again"):
        load_model(tracked, packed.model_uri)
    with pytest.raises(ModelOutdated, match="train it again"):
        mlflow.pyfunc.load_model(packed.model_uri)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def in_environment(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deployment's database is that of the environment, as where a person uses a model."""
    assert tracked.database_url is not None
    monkeypatch.setenv("DATABASE_URL", tracked.database_url.get_secret_value())
    monkeypatch.setenv("DAGSTER_HOME", str(tracked.home))


def test_a_folder_whose_hash_nobody_recorded_is_not_opened(
    tracked: Settings, packed: PackedModel, in_environment: None
) -> None:
    import mlflow

    with psycopg_connect(tracked, "state", autocommit=True) as connection:
        connection.execute("ALTER TABLE model_hashes RENAME TO elsewhere")
        try:
            with pytest.raises(ModelTampered, match="none was recorded"):
                mlflow.pyfunc.load_model(str(files_of(tracked, packed)))
        finally:
            connection.execute("ALTER TABLE elsewhere RENAME TO model_hashes")


def test_a_person_may_give_the_hash_where_no_database_is(
    tracked: Settings, packed: PackedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("DATABASE_URL", "postgresql://ann@127.0.0.1:1/away")
    folder = str(files_of(tracked, packed))
    loaded = mlflow.pyfunc.load_model(folder, model_config={"sha256": packed.sha256})
    assert loaded.predict(raw_rows()).shape == (30, 3)
    with pytest.raises(ModelTampered, match="but 0000"):
        mlflow.pyfunc.load_model(folder, model_config={"sha256": "0" * 64})
    with pytest.raises(DatabaseUnavailable):
        mlflow.pyfunc.load_model(folder)


def version_of_a_trap(settings: Settings, name: str, folder: Path, tags: dict[str, str]) -> str:
    """A version that leads to a package whose hash is right, and that names a loader of the attacker."""
    with start_run(settings, RunSpec("ensemble", "2023-06", "abc")) as run:
        source = files_of(settings, log_model(run, MODEL))
    shutil.copytree(source, folder / "package")
    set_trap(folder / "package", folder / "sprung")
    sha256 = contents_sha256(files_below(folder / "package"))
    client = mlflow_client(settings)
    client.create_registered_model(name, tags=tags)
    created = client.create_model_version(
        name, (folder / "package").as_uri(), run.run_id, tags={"model_sha256": sha256}
    )
    return f"models:/{name}/{created.version}"


def test_a_version_in_a_foreign_folder_is_not_opened(empty_registry: Settings, tmp_path: Path) -> None:
    uri = version_of_a_trap(empty_registry, "ensemble", tmp_path, {"cleverbetter": "family"})
    with pytest.raises(RegistryError, match="which no run of ours logged"):
        load_model(empty_registry, uri)
    assert not (tmp_path / "sprung").exists()


def test_a_registered_model_of_somebody_else_is_not_opened(empty_registry: Settings, tmp_path: Path) -> None:
    uri = version_of_a_trap(empty_registry, "theirs", tmp_path, {})
    with pytest.raises(RegistryError, match="a registered model of somebody else"):
        load_model(empty_registry, uri)
    assert not (tmp_path / "sprung").exists()


def test_a_logged_model_that_was_led_elsewhere_is_not_opened(empty_registry: Settings, tmp_path: Path) -> None:
    version_of_a_trap(empty_registry, "theirs", tmp_path, {})
    with start_run(empty_registry, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    model_id, package = packed.model_uri.removeprefix("models:/"), tmp_path / "package"
    mlflow_client(empty_registry).set_logged_model_tags(
        model_id, {"model_sha256": contents_sha256(files_below(package))}
    )
    with psycopg_connect(empty_registry, "mlflow", autocommit=True) as connection:
        changed = connection.execute(
            "UPDATE logged_models SET artifact_location = %s WHERE model_id = %s", [package.as_uri(), model_id]
        )
        assert changed.rowcount == 1
    with pytest.raises(RegistryError, match="outside of its experiment"):
        load_model(empty_registry, packed.model_uri)
    assert not (tmp_path / "sprung").exists()


def test_who_may_write_mlflows_store_gets_nothing_opened(tracked: Settings, tmp_path: Path) -> None:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    files, model_id = files_of(tracked, packed), packed.model_uri.removeprefix("models:/")
    set_trap(files, tmp_path / "sprung")
    sha256 = contents_sha256(files_below(files))
    mlflow_client(tracked).set_logged_model_tags(model_id, {"model_sha256": sha256})
    mlflow_client(tracked).set_tag(run.run_id, "model_sha256", sha256)
    with pytest.raises(ModelTampered, match=f"{packed.sha256} was recorded"):
        load_model(tracked, packed.model_uri)
    assert not (tmp_path / "sprung").exists()


def test_a_recorded_hash_is_never_changed(tracked: Settings) -> None:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    with pytest.raises(ModelTampered, match="the hash of other files already"):
        record_hash(tracked, packed.model_uri.removeprefix("models:/"), "0" * 64)
    assert load_model(tracked, packed.model_uri).feature_names == FEATURES


@pytest.mark.parametrize("name", ["MLmodel", "requirements.txt", "added.py"])
def test_every_file_of_a_model_counts(tracked: Settings, name: str) -> None:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    with (files_of(tracked, packed) / name).open("a") as file:
        file.write("\n")
    with pytest.raises(ModelTampered):
        load_model(tracked, packed.model_uri)


def test_a_model_without_a_recorded_hash_is_refused(tracked: Settings) -> None:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    with psycopg_connect(tracked, "state", autocommit=True) as connection:
        connection.execute("DELETE FROM model_hashes WHERE model_id = %s", [packed.model_uri.removeprefix("models:/")])
    with pytest.raises(ModelTampered, match="none was recorded"):
        load_model(tracked, packed.model_uri)


def test_a_model_that_is_not_there_is_named(tracked: Settings) -> None:
    for uri in ("models:/m-0000", "models:/ensemble/99", "models:/ensemble@champion", "runs:/x", "models:/nosuch/1"):
        with pytest.raises(ModelNotFound, match=uri):
            load_model(tracked, uri)


def test_a_model_whose_files_were_deleted_is_named(tracked: Settings) -> None:
    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    files = files_of(tracked, packed)
    files.rename(files.with_name("gone"))
    with pytest.raises(ModelNotFound, match="moved or deleted"):
        load_model(tracked, packed.model_uri)


def test_a_hash_tells_names_from_contents() -> None:
    assert contents_sha256({"a": b"bc"}) != contents_sha256({"ab": b"c"})
    assert contents_sha256({"a": b"x", "b": b"y"}) != contents_sha256({"a": b"y", "b": b"x"})
