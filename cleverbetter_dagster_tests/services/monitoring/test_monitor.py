"""The champion watched, with a real ledger and real predictions: all is well, and every fault is seen when planted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, judge
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.services.champion.predict import predict
from cleverbetter_dagster.services.evaluation.evaluate import score_test_rows
from cleverbetter_dagster.services.evaluation.scored_table import scored_by_model
from cleverbetter_dagster.services.monitoring.checks import MONITORING_CHECKS
from cleverbetter_dagster.services.monitoring.monitor import monitor
from cleverbetter_dagster.services.records import MonitoringRecord, SplitRecord
from cleverbetter_dagster.services.training.datasets import panels_from, plan_split
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.table import Decision
from cleverbetter_dagster.store.predictions import ScoredBy, write_predictions
from cleverbetter_dagster.store.tracking.package import StrategyModel
from cleverbetter_dagster_tests.services.ingest.followers import Follower
from cleverbetter_dagster_tests.support.provenance import NOTHING_LEARNED

SPEC = DatasetSpec(min_composite_score=None, min_examples=1)
CHAMPION_AS_OF, NOW = AsOf.parse("2022-06"), AsOf.parse("2023-04")
PREDICTED = [f"2022-{month:02d}" for month in range(6, 13)] + ["2023-01", "2023-02", "2023-03"]
MODEL = StrategyModel(Follower(), SPEC, NOTHING_LEARNED)

Change = Callable[[pd.DataFrame], pd.DataFrame]


class NoMirror:
    def set_champion(self, family: str, version: int) -> Any:
        return None


@dataclass(frozen=True)
class World:
    settings: Settings
    rows: pd.DataFrame
    splits: dict[str, SplitRecord]

    def until(self, as_of: AsOf) -> pd.DataFrame:
        return self.rows[self.rows["end_date"] < as_of.end]

    def predict(self, change: Change = lambda made: made, version: int = 1) -> None:
        for month in PREDICTED:
            as_of = AsOf.parse(month)
            made = change(predict(panels_from(self.until(as_of), as_of), as_of, MODEL, StakingSpec()))
            write_predictions(self.settings, made, ScoredBy(month, "follower", version, "run", StakingSpec()))

    def monitor(self, rows: pd.DataFrame | None = None) -> MonitoringRecord:
        monitoring = monitor(
            self.settings, panels_from(self.until(NOW) if rows is None else rows, NOW), self.splits, NOW
        )
        assert all(png.startswith(b"\x89PNG") for png in monitoring.pictures.values()) and monitoring.pictures
        return monitoring.record


@pytest.fixture
def world(database: Settings, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> World:
    """A champion as of `CHAMPION_AS_OF`, promoted on its own merits."""
    monkeypatch.setattr("cleverbetter_dagster.services.monitoring.monitor.load_model", lambda settings, uri: MODEL)
    dataset = plan_split(rows[rows["end_date"] < CHAMPION_AS_OF.end], CHAMPION_AS_OF, SPEC)
    scored = scored_by_model([score_test_rows({"follower": MODEL.fitted}, dataset, StakingSpec())])
    policy = PromotionPolicy(level=0.6)  # it has few months of test rows
    verdict = judge(scored["follower"], None, {name: scored[name] for name in BASELINES}, policy)
    evidence = verdict.model_dump(mode="json")
    ledger.promote(
        database, NoMirror(), Decision("follower", 1, "run", CHAMPION_AS_OF.key, "it is good", "a test", evidence), None
    )
    return World(database, rows, {CHAMPION_AS_OF.key: dataset.record})


def failed(record: MonitoringRecord) -> dict[str, str]:
    return {check.name: check.remedy for check in MONITORING_CHECKS if not check.run(record).passed}


def messages(record: MonitoringRecord) -> dict[str, str]:
    return {check.name: check.run(record).message for check in MONITORING_CHECKS}


def test_a_good_champion_passes_every_check(world: World) -> None:
    world.predict()
    record = world.monitor()
    assert failed(record) == {}
    assert (record.family, record.version, record.champion_as_of) == ("follower", 1, CHAMPION_AS_OF.key)
    # Every labelled row decided in the months predicted, whose next window closed by NOW.
    panel = build_panel(world.until(NOW), NOW.end, SPEC)
    live = panel[panel["label"].notna() & (panel["decision_time"] >= AsOf.parse("2022-06").start)]
    live = live[live["decision_time"] < AsOf.parse("2023-03").end]
    assert record.own is not None and record.closed is not None
    assert record.own.n_rows == record.closed.n_rows >= 0.98 * len(live)
    assert record.own.n_months == 10
    joined = live["next_roi"] - live["mean_roi"]
    assert record.decay is not None and record.decay.point == pytest.approx(joined.mean(), abs=2e-3)
    assert record.lead is not None and record.lead.point < 0
    assert record.decayed[0].decay <= record.decayed[-1].decay
    assert MonitoringRecord.model_validate_json(record.model_dump_json()) == record


def test_an_overconfident_champion_fails_calibration_and_lead(world: World) -> None:
    world.predict(lambda made: made.assign(probability=0.9))
    remedies = failed(world.monitor())
    assert set(remedies) == {"champion_is_calibrated", "champion_as_good_as_when_promoted"}
    assert "recalibrate probabilities" in remedies["champion_is_calibrated"]
    assert "train again" in remedies["champion_as_good_as_when_promoted"]


def test_a_champion_without_skill_fails_its_lead(world: World) -> None:
    rng = np.random.default_rng(0)
    world.predict(lambda made: made.assign(probability=rng.permutation(made["probability"])))
    assert "champion_as_good_as_when_promoted" in failed(world.monitor())


def test_moved_rows_are_drift_of_score_and_features(world: World) -> None:
    world.predict()
    rows = world.until(NOW)
    # For half a year every window loses, as where commission doubles: the shares the champion goes by collapse.
    moved = rows.assign(roi=rows["roi"].mask(rows["end_date"] >= pd.Timestamp("2022-11-01", tz="UTC"), -0.2))
    record = world.monitor(moved)
    remedies = failed(record)
    assert "leakage upstream, then train again" in remedies["champion_score_has_not_drifted"]
    assert record.moved_importance is not None and record.moved_importance > 0.5


@pytest.mark.parametrize(
    ("distance", "importance", "failures"),
    [
        pytest.param(0.0, 0.6, {"champion_score_has_not_drifted"}, id="features alone"),
        pytest.param(0.32, 0.0, {"champion_score_has_not_drifted"}, id="score alone"),
        pytest.param(0.0, 0.5, set(), id="neither"),
    ],
)
def test_moved_features_or_a_moved_score_fail_alone(
    world: World, distance: float, importance: float, failures: set[str]
) -> None:
    record = world.monitor()
    assert record.score_drift is not None
    score = record.score_drift.model_copy(update={"distance": distance})
    assert set(failed(record.model_copy(update={"score_drift": score, "moved_importance": importance}))) == failures


@pytest.mark.parametrize("few", [{"n_rows": 499}, {"n_months": 5}])
def test_few_predictions_or_months_judge_no_champion(world: World, few: dict[str, int]) -> None:
    world.predict(lambda made: made.assign(probability=0.9))
    record = world.monitor()
    assert record.own is not None and failed(record)
    assert failed(record.model_copy(update={"own": record.own.model_copy(update=few)})) == {}


@pytest.mark.parametrize("is_old", [False, True])
def test_a_champion_promoted_by_hand_keeps_its_verdict(
    world: World, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    champion = ledger.champion_at(world.settings, NOW.key)
    assert champion is not None
    verdict = {"comparisons": "of another release"} if is_old else champion.evidence
    by_hand = replace(champion, evidence={"by_hand": True, "gate": {"verdict": verdict}})
    monkeypatch.setattr(ledger, "champion_at", lambda *_: by_hand)
    assert (world.monitor().promoted_lead is None) == is_old


def test_too_little_to_judge_by_passes_and_says_so(world: World) -> None:
    record = world.monitor()  # nothing was predicted
    assert record.own is None and failed(record) == {}
    assert (
        "0 closed predictions of 0 months are too few to judge by; 500 of 6 are needed"
        in messages(record)["champion_is_calibrated"]
    )


def test_an_earlier_champions_predictions_are_not_its_own(world: World) -> None:
    world.predict(version=7)
    record = world.monitor()
    assert record.closed is not None and record.own is None


def test_a_row_predicted_again_a_month_later_counts_once(world: World) -> None:
    world.predict()
    before = world.monitor()
    august = AsOf.parse("2022-08")
    again = predict(panels_from(world.until(august), august), august, MODEL, StakingSpec())
    write_predictions(world.settings, again, ScoredBy("2022-09", "follower", 1, "run", StakingSpec()))
    after = world.monitor()
    assert before.own is not None and after.own is not None
    # September's own predictions were replaced by August's, which were made already.
    assert after.own.n_rows == before.own.n_rows - len(again)


def test_rows_are_monitored_without_a_champion(database: Settings, rows: pd.DataFrame) -> None:
    record = monitor(database, panels_from(rows[rows["end_date"] < NOW.end], NOW), {}, NOW).record
    assert record.family is None and record.rows > 0 and record.composite_median is not None
    assert failed(record) == {}
    assert all(text.startswith("Not judged. There is no champion.") for text in messages(record).values())


def test_a_champion_without_its_split_is_an_error(world: World) -> None:
    with pytest.raises(DataError, match="Materialise temporal_split of 2022-06"):
        monitor(world.settings, panels_from(world.until(NOW), NOW), {}, NOW)
