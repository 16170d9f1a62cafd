"""The plan of an automatic training: the champion's dataset options, and which families have a parent."""

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.services.champion.training_plan import plan_training
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.table import Decision
from cleverbetter_dagster.store.tracking.registry import SPEC_TAG, Registry, may_hold_versions
from cleverbetter_dagster_tests.store.tracking.test_registry import logged_run

FAMILIES = ["ensemble", "classifier"]
EVERY_ROW, THEIRS, DEFAULT = DatasetSpec(min_composite_score=None), DatasetSpec(embargo_days=3), DatasetSpec()


def register(settings: Settings, family: str, as_of: str, spec: DatasetSpec | None) -> int:
    """A version made with `spec`; None: its tags do not name one."""
    tags = {} if spec is None else {SPEC_TAG: spec.model_dump_json()}
    return Registry(settings).register(logged_run(settings, family, as_of), family, tags)


def promote(settings: Settings, family: str, version: int, as_of: str) -> None:
    ledger.promote(settings, Registry(settings), Decision(family, version, "run", as_of, "better", "a test"), None)


def test_without_versions_the_plan_is_the_defaults(database: Settings) -> None:
    plan = plan_training(database, FAMILIES, "2023-06")
    assert (plan.spec, plan.example, plan.without_parent) == (DEFAULT, None, ("ensemble", "classifier"))
    assert not may_hold_versions(database)  # planning created no tables


def test_options_of_the_champion_win_over_newer_versions(empty_registry: Settings) -> None:
    champion = register(empty_registry, "ensemble", "2023-04", EVERY_ROW)
    register(empty_registry, "ensemble", "2023-06", THEIRS)
    register(empty_registry, "classifier", "2023-06", THEIRS)
    promote(empty_registry, "ensemble", champion, "2023-04")
    plan = plan_training(empty_registry, FAMILIES, "2023-06")
    assert (plan.spec, plan.without_parent) == (EVERY_ROW, ("classifier",))
    assert str(plan).startswith("Dataset options of ensemble v1. Full training: no version")
    assert "to update: classifier." in str(plan)


def test_without_a_champion_the_newest_earlier_version_decides(empty_registry: Settings) -> None:
    register(empty_registry, "ensemble", "2023-04", EVERY_ROW)
    register(empty_registry, "classifier", "2023-05", EVERY_ROW)
    register(empty_registry, "classifier", "2023-07", DEFAULT)  # of a later month
    plan = plan_training(empty_registry, FAMILIES, "2023-06")
    assert (plan.spec, plan.example, plan.without_parent) == (EVERY_ROW, "classifier v1", ())


def test_a_version_without_options_is_no_parent(empty_registry: Settings) -> None:
    register(empty_registry, "ensemble", "2023-05", None)
    plan = plan_training(empty_registry, ["ensemble"], "2023-06")
    assert (plan.spec, plan.without_parent) == (DEFAULT, ("ensemble",))


def test_a_model_of_another_family_is_no_parent(empty_registry: Settings) -> None:
    Registry(empty_registry).register(
        logged_run(empty_registry, "rl_agent", "2023-05"), "ensemble", {SPEC_TAG: DEFAULT.model_dump_json()}
    )
    assert plan_training(empty_registry, ["ensemble", "rl_agent"], "2023-06").without_parent == ("ensemble", "rl_agent")
