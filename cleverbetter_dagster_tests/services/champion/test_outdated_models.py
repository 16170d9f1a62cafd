"""A model of another release cannot be loaded: one sentence says so, nothing crashes, and its successor takes over."""

import json

import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import ModelOutdated
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.services.champion.manual_promotion import DecisionContext, plan_rollback, promote, review
from cleverbetter_dagster.services.champion.predict import predict_and_write
from cleverbetter_dagster.services.champion.promotion import judge_model
from cleverbetter_dagster.services.champion.training_plan import plan_training
from cleverbetter_dagster.services.stored_assets import stored_rows
from cleverbetter_dagster.services.training.datasets import Dataset, panels_of
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.registry import FORMAT_TAG, Registry
from cleverbetter_dagster_tests.cli.conftest import command_in
from cleverbetter_dagster_tests.services.champion.conftest import KNOWN_SHARE, Foreseer, registered
from cleverbetter_dagster_tests.services.conftest import AS_OF

SENTENCE = "The model {} was trained by another release of this package and cannot be loaded; train it again."


@pytest.fixture
def outdated(empty_registry: Settings, as_stored: Dataset) -> Settings:
    """A deployment whose champion is version 1 of the ensemble, and consists of a class that is gone."""
    Foreseer.__name__ = "ForeseerOfAnotherRelease"
    try:
        version = registered(empty_registry, as_stored, KNOWN_SHARE)
        grounds = DecisionContext("the first one", "a test", override_gate=True)
        promote(empty_registry, review(empty_registry, "ensemble", version, judge=False), grounds)
    finally:
        Foreseer.__name__ = "Foreseer"
    mlflow_client(empty_registry).delete_model_version_tag("ensemble", str(version), FORMAT_TAG)
    return empty_registry


def test_loading_an_outdated_model_says_to_train_again(outdated: Settings) -> None:
    with pytest.raises(ModelOutdated) as refusal:
        load_model(outdated, "models:/ensemble/1")
    assert str(refusal.value) == SENTENCE.format("models:/ensemble/1")


def test_predicting_with_an_outdated_champion_says_to_train_again(outdated: Settings) -> None:
    as_of = AsOf.parse(AS_OF.key)
    with pytest.raises(ModelOutdated, match="train it again"):
        predict_and_write(outdated, panels_of(outdated, stored_rows(outdated, as_of), as_of), as_of, {})


def test_doctor_reports_an_outdated_champion(outdated: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command_in(outdated, monkeypatch)("doctor", "--json")
    (line,) = [line for line in json.loads(done.stdout) if line["name"] == "champion"]
    assert line["level"] == "fail"
    assert line["message"] == SENTENCE.format("ensemble v1")
    assert "cleverbetter train ensemble" in line["remedy"]


@pytest.mark.parametrize("command", ["status", "history"])
def test_an_outdated_champion_is_still_named(command: str, outdated: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command_in(outdated, monkeypatch)(command)
    assert (done.returncode, "ensemble v1" in done.stdout) == (0, True)


def test_an_outdated_model_is_not_promoted_by_hand(outdated: Settings, as_stored: Dataset) -> None:
    newer = registered(outdated, as_stored, KNOWN_SHARE)
    promote(
        outdated,
        review(outdated, "ensemble", newer, judge=False),
        DecisionContext("newer", "a test", override_gate=True),
    )
    with pytest.raises(ModelOutdated):
        review(outdated, "ensemble", 1, judge=False)
    with pytest.raises(ModelOutdated):
        plan_rollback(outdated)


def test_an_outdated_champion_does_not_block_the_gate(outdated: Settings, as_stored: Dataset) -> None:
    version = registered(outdated, as_stored, KNOWN_SHARE)
    challenger = Registry(outdated).get_version("ensemble", version)
    verdict = judge_model(outdated, challenger, ledger.champion(outdated), as_stored, PromotionPolicy())
    assert verdict.promote
    assert verdict.reasons[0].startswith("The challenger was not compared with the champion ensemble v1: ")
    assert "champion" not in {comparison.against for comparison in verdict.comparisons}


def test_a_training_does_not_go_on_from_an_outdated_version(outdated: Settings, as_stored: Dataset) -> None:
    plan = plan_training(outdated, ["ensemble"], AS_OF.key)
    assert plan.without_parent == ("ensemble",)
    assert plan.spec == as_stored.record.spec != DatasetSpec()  # its options are still carried over
    registered(outdated, as_stored, KNOWN_SHARE)
    assert plan_training(outdated, ["ensemble"], AS_OF.key).without_parent == ()
