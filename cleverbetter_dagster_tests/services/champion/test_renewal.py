"""Whoever makes a champion scores it at once; until that is done, whoever asks for stakes is told so."""

import pandas as pd
import pytest

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.services.champion import promotion
from cleverbetter_dagster.services.champion.manual_promotion import (
    DecisionContext,
    plan_rollback,
    promote,
    review,
    roll_back,
)
from cleverbetter_dagster.services.champion.renewal import (
    RENEW_COMMAND,
    month_to_score,
    stakes_line,
    supposed_predictions,
)
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.source.changes import InFlightRows
from cleverbetter_dagster.store.source.load_log import Digest, LoadedMonth, record_load
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster_tests.services.champion.conftest import KNOWN_SHARE, registered
from cleverbetter_dagster_tests.services.conftest import AS_OF

OVERRIDE = DecisionContext("tried by hand", "a test", override_gate=True)


def loaded(settings: Settings, *months: str) -> None:
    record_load(settings, {m: LoadedMonth(Digest(1, m), "db", 1, InFlightRows()) for m in months}, "a run", None)


def promoted(settings: Settings, dataset: Dataset) -> int:
    version = registered(settings, dataset, KNOWN_SHARE)
    promote(settings, review(settings, "ensemble", version, judge=False), OVERRIDE)
    return version


def served_by(settings: Settings) -> set[tuple[str, int]]:
    shown = read_predictions(settings)
    return set(zip(shown["as_of"], shown["model_version"], strict=True))


def test_a_promotion_by_hand_brings_stakes_at_once(empty_registry: Settings, as_stored: Dataset) -> None:
    loaded(empty_registry, AS_OF.key)
    version = promoted(empty_registry, as_stored)
    assert served_by(empty_registry) == {(AS_OF.key, version)}
    assert f"ensemble v{version} scored" in stakes_line(empty_registry)


def test_a_rollback_brings_the_former_champions_stakes(empty_registry: Settings, as_stored: Dataset) -> None:
    loaded(empty_registry, AS_OF.key)
    one, _ = promoted(empty_registry, as_stored), promoted(empty_registry, as_stored)
    roll_back(empty_registry, plan_rollback(empty_registry), DecisionContext("stakes look wrong", "a test"))
    assert served_by(empty_registry) == {(AS_OF.key, one)}


def test_a_promotion_by_job_brings_stakes_at_once(
    empty_registry: Settings, as_stored: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(empty_registry, AS_OF.key)
    version = registered(empty_registry, as_stored, KNOWN_SHARE)
    run_id = review(empty_registry, "ensemble", version, judge=False).version.run_id
    asked = ledger.Decision("ensemble", version, run_id, AS_OF.key, "better", "a test")
    monkeypatch.setattr(promotion, "decide_promotion", lambda *_: ("promoted", _Verdict()))
    monkeypatch.setattr(promotion.ledger, "Decision", lambda **_: asked)
    promotion.promote_or_refuse(empty_registry, _Comparison(version), as_stored, PromotionPolicy())  # type: ignore[arg-type]
    assert served_by(empty_registry) == {(AS_OF.key, version)}


def test_a_decision_stands_where_nothing_can_be_scored(
    empty_registry: Settings, as_stored: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    version = promoted(empty_registry, as_stored)  # no rows are loaded
    champion = ledger.champion(empty_registry)
    assert champion is not None
    assert champion.version == version
    assert "No rows are loaded yet" in caplog.text
    assert stakes_line(empty_registry).startswith(f"There are no stakes of the champion ensemble v{version} yet")
    assert RENEW_COMMAND in stakes_line(empty_registry)


def test_a_model_of_an_older_month_leaves_the_stakes(empty_registry: Settings, as_stored: Dataset) -> None:
    loaded(empty_registry, AS_OF.key)
    champion = promoted(empty_registry, as_stored)
    record = as_stored.record.model_copy(update={"as_of": AS_OF.plus(-1).key})
    older = Dataset(record, as_stored.panel, as_stored.parts)
    promoted(empty_registry, older)
    assert served_by(empty_registry) == {(AS_OF.key, champion)}


def test_stakes_are_of_the_newest_month_with_rows(empty_registry: Settings, as_stored: Dataset) -> None:
    assert month_to_score(empty_registry) is None
    loaded(empty_registry, "2023-01", "2023-02")
    assert month_to_score(empty_registry) == "2023-02"
    promoted(empty_registry, as_stored)
    assert month_to_score(empty_registry) == AS_OF.key  # the champion knows a later month


def test_supposed_options_change_the_stakes_and_nothing_stored(empty_registry: Settings, as_stored: Dataset) -> None:
    loaded(empty_registry, AS_OF.key)
    version = promoted(empty_registry, as_stored)
    before, staking = read_predictions(empty_registry), Registry(empty_registry).get_version("ensemble", version)
    supposed = supposed_predictions(empty_registry, AS_OF.key, {"max_stake_fraction": 0.001})
    assert 0 < supposed["recommended_stake"].max() <= 0.001 < before["recommended_stake"].max()
    pd.testing.assert_frame_equal(read_predictions(empty_registry), before)
    assert Registry(empty_registry).get_version("ensemble", version) == staking
    with pytest.raises(InvalidInput, match=r"Did you mean kelly_fraction\? "):
        supposed_predictions(empty_registry, AS_OF.key, {"kelly_fractoin": 0.1})


class _Verdict:
    """What of a verdict `promote_or_refuse` uses."""

    reasons = ("better",)

    def model_dump(self, **_: object) -> dict[str, object]:
        return {}


class _Challenger:
    def __init__(self, version: int) -> None:
        self.family, self.version, self.as_of, self.run_id = "ensemble", version, AS_OF.key, "run"


class _Comparison:
    """The leaderboard of a month with one model."""

    def __init__(self, version: int) -> None:
        self.challenger, self.models, self.as_of = "ensemble", {"ensemble": _Challenger(version)}, AS_OF.key
        self.broken_guards: dict[str, list[str]] = {}

    def staking_comparisons(self, _: str) -> list[object]:
        return []
