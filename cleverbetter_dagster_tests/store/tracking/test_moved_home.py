"""A home that was moved, renamed or copied keeps its models, or says what is missing before anything is written."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking import client
from cleverbetter_dagster.store.tracking.client import artefact_home, mlflow_client, require_mlflow
from cleverbetter_dagster.store.tracking.moved_home import ADDRESSES, find_move
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.places import artefact_folder
from cleverbetter_dagster.store.tracking.plain_files import TREE
from cleverbetter_dagster_tests.cli.conftest import registered
from cleverbetter_dagster_tests.store.tracking.test_package import MODEL, raw_rows

URI = "models:/ensemble/1"


@pytest.fixture
def first_home(empty_registry: Settings, tmp_path: Path) -> Settings:
    """A home with one registered model, in an experiment of its own."""
    settings = empty_registry.model_copy(
        update={"home": tmp_path / "old home", "mlflow_experiment_name": f"of {tmp_path.name}"}
    )
    assert registered(settings, "2023-06") == 1
    return settings


def moved(settings: Settings, to: str) -> Settings:
    """The settings after the home was renamed; processes that start then have prepared no client."""
    settings.home.rename(settings.home.with_name(to))
    return renamed(settings, to)


def renamed(settings: Settings, to: str) -> Settings:
    client._prepared_client.cache_clear()
    return settings.model_copy(update={"home": settings.home.with_name(to)})


def addresses(settings: Settings) -> set[str]:
    """Every address that MLflow's tables hold."""
    engine = create_engine(client.tracking_uri(settings))
    with engine.connect() as connection:
        found = {
            row[0] for name, column in ADDRESSES for row in connection.execute(text(f"SELECT {column} FROM {name}"))
        }
    engine.dispose()
    return {address for address in found if address}


@pytest.mark.parametrize("to", ["new", "new home, 100% ours"])
def test_models_of_a_moved_home_are_found(first_home: Settings, caplog: pytest.LogCaptureFixture, to: str) -> None:
    new = moved(first_home, to)
    with caplog.at_level(logging.WARNING):
        loaded = load_model(new, URI)
    assert loaded.predict(raw_rows()).equals(MODEL.predict(raw_rows()))
    assert f"{artefact_folder(new)} now, no longer {artefact_folder(first_home)}" in caplog.text
    assert not [address for address in addresses(new) if "old%20home" in address]
    assert registered(new, "2023-07") == 2
    assert len(list(artefact_folder(new).rglob(TREE))) == 2
    assert not first_home.home.exists()


def test_a_home_that_lost_its_models_says_where_they_were(first_home: Settings) -> None:
    before = addresses(first_home)
    new = renamed(first_home, "new")
    shutil.rmtree(first_home.home)
    for use in (require_mlflow, mlflow_client):
        with pytest.raises(SettingsError, match=r"the models are in .*old home.*, but the home is .*new now"):
            use(new)
    assert addresses(new) == before
    assert not first_home.home.exists() and not new.home.exists()


def test_two_homes_may_share_one_database(first_home: Settings) -> None:
    before = addresses(first_home)
    second = renamed(first_home, "second")
    assert load_model(second, URI).predict(raw_rows()).equals(MODEL.predict(raw_rows()))
    shutil.copytree(first_home.home, second.home)
    client._prepared_client.cache_clear()
    require_mlflow(second)
    assert find_move(client.tracking_uri(second), artefact_home(second)) is None
    assert addresses(second) == before


def test_a_copy_with_its_own_database_leaves_the_original_alone(first_home: Settings) -> None:
    copy = renamed(first_home, "copy")
    shutil.copytree(first_home.home, copy.home)
    own = replace(artefact_home(copy), own_database=True)
    move = find_move(client.tracking_uri(copy), own)
    assert move is not None
    assert (move.old, move.new) == (artefact_folder(first_home).as_uri(), artefact_folder(copy).as_uri())


def test_a_place_that_somebody_chose_is_left_alone(empty_registry: Settings, tmp_path: Path) -> None:
    chosen = empty_registry.model_copy(update={"home": tmp_path, "mlflow_experiment_name": f"chosen {tmp_path.name}"})
    mlflow_client(chosen).create_experiment(chosen.mlflow_experiment_name, artifact_location="s3://bucket/models")
    require_mlflow(chosen)
    assert find_move(client.tracking_uri(chosen), artefact_home(chosen)) is None


def test_a_home_without_mlflows_tables_was_not_moved(database: Settings) -> None:
    assert find_move(client.tracking_uri(database), artefact_home(database)) is None


def test_a_path_too_long_for_mlflow_is_refused_whole(first_home: Settings) -> None:
    before = addresses(first_home)
    new = moved(first_home, "n" * 200)
    with pytest.raises(SettingsError, match="Choose a home with a shorter path"):
        mlflow_client(new)
    assert addresses(new) == before
