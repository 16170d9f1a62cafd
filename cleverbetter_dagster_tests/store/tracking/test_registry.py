"""One version of all families is champion; MLflow shows it by alias and by the guide's stages."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cleverbetter_dagster.errors import ModelNotFound, RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.plain_files import FORMAT
from cleverbetter_dagster.store.tracking.registry import FORMAT_TAG, Registry
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run


@pytest.fixture
def registry(empty_registry: Settings) -> Registry:
    return Registry(empty_registry)


def logged_run(settings: Settings, family: str = "ensemble", as_of: str = "2023-12") -> str:
    """A run with a logged model that has no files: the registry never reads them."""
    from mlflow.entities import LoggedModelOutput

    with start_run(settings, RunSpec(family, as_of, "abc123")) as run:
        logged = run.client.create_logged_model(run.experiment_id, name=family, source_run_id=run.run_id)
        run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        run.set_tags({"model_sha256": f"hash of {run.run_id}", FORMAT_TAG: FORMAT})
    return run.run_id


def register(settings: Settings, family: str = "ensemble", as_of: str = "2023-12") -> int:
    return Registry(settings).register(logged_run(settings, family, as_of), family)


def holders(settings: Settings) -> list[tuple[str, int]]:
    """Every alias `champion` there is, asked of MLflow directly."""
    models = mlflow_client(settings).search_registered_models()
    return sorted((model.name, int(model.aliases["champion"])) for model in models if "champion" in model.aliases)


def stages(settings: Settings) -> dict[tuple[str, int], str]:
    return {(found.family, found.version): found.stage for found in Registry(settings).list_versions()}


def test_a_version_carries_what_its_run_says(empty_registry: Settings, registry: Registry) -> None:
    run_id = logged_run(empty_registry)
    version = registry.register(run_id, "ensemble", {"note": "first"})
    registered = registry.get_version("ensemble", version)
    assert (registered.family, registered.version, registered.run_id, registered.as_of) == (
        "ensemble",
        1,
        run_id,
        "2023-12",
    )
    assert registered.model_uri == "models:/ensemble/1"
    assert registered.sha256 == f"hash of {run_id}"
    assert registered.stage == "None"
    assert not registered.is_champion
    assert registered.tags["note"] == "first"
    assert registered.tags["data_hash"] == "abc123"


def test_versions_count_up_within_a_family(empty_registry: Settings, registry: Registry) -> None:
    numbers = [register(empty_registry, family) for family in ("ensemble", "ensemble", "classifier", "ensemble")]
    assert numbers == [1, 2, 1, 3]
    listed = [(version.family, version.version) for version in registry.list_versions()]
    assert listed == [("classifier", 1), ("ensemble", 1), ("ensemble", 2), ("ensemble", 3)]
    assert [version.version for version in registry.list_versions("classifier")] == [1]


def test_a_run_registered_again_keeps_its_version(empty_registry: Settings, registry: Registry) -> None:
    run_id = logged_run(empty_registry)
    first = registry.register(run_id, "ensemble")
    register(empty_registry)
    assert registry.register(run_id, "ensemble", {"note": "again"}) == first
    assert registry.get_version("ensemble", first).tags["note"] == "again"
    assert len(registry.list_versions()) == 2


def test_a_run_registered_by_many_at_once_gets_one_version(empty_registry: Settings, registry: Registry) -> None:
    run_id = logged_run(empty_registry)
    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(lambda _: registry.register(run_id, "ensemble"), range(6)))
    assert numbers == [1] * 6
    assert len(registry.list_versions()) == 1


def test_a_run_without_a_model_is_not_registered(empty_registry: Settings, registry: Registry) -> None:
    with start_run(empty_registry, RunSpec("ensemble", "2023-12", "x")) as run:
        pass
    with pytest.raises(ModelNotFound, match="No model was logged"):
        registry.register(run.run_id, "ensemble")
    with pytest.raises(ModelNotFound, match="no run 'nosuch'"):
        registry.register("nosuch", "ensemble")
    with pytest.raises(ModelNotFound, match=r"no version 7; registered versions: none"):
        registry.get_version("ensemble", 7)


def test_the_champion_gets_alias_and_stage_from_the_former(empty_registry: Settings, registry: Registry) -> None:
    one, two = register(empty_registry), register(empty_registry)
    registry.set_champion("ensemble", one)
    registry.set_champion("ensemble", two)
    assert [version.is_champion for version in registry.list_versions()] == [False, True]
    assert holders(empty_registry) == [("ensemble", two)]
    assert stages(empty_registry) == {("ensemble", one): "Archived", ("ensemble", two): "Production"}


def test_a_champion_of_another_family_takes_the_alias(empty_registry: Settings, registry: Registry) -> None:
    ensemble, classifier = register(empty_registry), register(empty_registry, "classifier")
    registry.set_champion("ensemble", ensemble)
    registry.set_champion("classifier", classifier)
    assert holders(empty_registry) == [("classifier", classifier)]
    assert stages(empty_registry) == {("classifier", 1): "Production", ("ensemble", 1): "Archived"}
    registry.set_champion("ensemble", ensemble)
    assert holders(empty_registry) == [("ensemble", ensemble)]
    assert stages(empty_registry) == {("classifier", 1): "Archived", ("ensemble", 1): "Production"}


def test_setting_the_champion_again_repairs_a_crash(empty_registry: Settings, registry: Registry) -> None:
    register(empty_registry)
    register(empty_registry, "classifier")
    registry.set_champion("ensemble", 1)
    client = mlflow_client(empty_registry)
    client.set_registered_model_alias("classifier", "champion", "1")
    client.delete_model_version_tag("ensemble", "1", "stage")
    registry.set_champion("ensemble", 1)
    assert holders(empty_registry) == [("ensemble", 1)]
    assert stages(empty_registry)["ensemble", 1] == "Production"


def test_a_champion_that_does_not_exist_changes_nothing(empty_registry: Settings, registry: Registry) -> None:
    register(empty_registry)
    registry.set_champion("ensemble", 1)
    with pytest.raises(ModelNotFound):
        registry.set_champion("ensemble", 2)
    assert holders(empty_registry) == [("ensemble", 1)]


def test_models_of_another_project_are_left_alone(empty_registry: Settings, registry: Registry) -> None:
    client = mlflow_client(empty_registry)
    client.create_registered_model("their-model")
    client.create_model_version("their-model", "file:///nowhere")
    client.set_registered_model_alias("their-model", "champion", "1")
    client.set_model_version_tag("their-model", "1", "stage", "Production")
    register(empty_registry)
    registry.set_champion("ensemble", 1)
    assert holders(empty_registry) == [("ensemble", 1), ("their-model", 1)]
    assert client.get_model_version("their-model", "1").tags == {"stage": "Production"}
    assert [version.family for version in registry.list_versions()] == ["ensemble"]


def test_other_stages_are_set_except_on_the_champion(empty_registry: Settings, registry: Registry) -> None:
    one, two = register(empty_registry), register(empty_registry)
    registry.set_champion("ensemble", one)
    registry.set_stage("ensemble", two, "Staging")
    with pytest.raises(RegistryError, match="stays in Production"):
        registry.set_stage("ensemble", one, "Archived")
    assert stages(empty_registry) == {("ensemble", one): "Production", ("ensemble", two): "Staging"}
