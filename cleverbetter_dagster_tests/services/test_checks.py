"""Every check passes on sound data and fails on its planted fault."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.quality.left_out import LeftOut, NonNumeric, with_left_out
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.evaluation.checks import Check, broken_guards
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.services.evaluation.checks import (
    CHAMPION_CHECKS,
    EVALUATION_CHECKS,
    MODEL_CHECKS,
    PREDICTION_CHECKS,
)
from cleverbetter_dagster.services.ingest.loading import MonthLoad
from cleverbetter_dagster.services.ingest.row_checks import ROW_CHECKS
from cleverbetter_dagster.services.monitoring.checks import MONITORING_CHECKS
from cleverbetter_dagster.services.records import ChampionRecord, PredictionsRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.split_checks import SPLIT_CHECKS, newest_panel
from cleverbetter_dagster.services.training.study_checks import STUDY_CHECKS
from cleverbetter_dagster_tests.dataset.panels import rows_schema
from cleverbetter_dagster_tests.services.evaluation import test_checks
from cleverbetter_dagster_tests.services.training import test_study_checks

LENIENT = DatasetSpec(min_composite_score=None)


def failing(checks: tuple[Check, ...], subject: object) -> set[str]:
    return {check.name for check in checks if not check.run(subject).passed}


# --- rows


@pytest.fixture(scope="module")
def month(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["end_date"].dt.strftime("%Y-%m") == "2023-03"].reset_index(drop=True)


def load(frame: pd.DataFrame, quarantined: int = 0) -> MonthLoad:
    market = [column for column in frame if column.startswith("ml_")]
    return MonthLoad(pa.Table.from_pandas(frame, schema=rows_schema(market), preserve_index=False), quarantined)


def _with_a_text(month: pd.DataFrame) -> MonthLoad:
    left_out = LeftOut(non_numeric={"country": NonNumeric(values=3, example="AU")})
    return replace(load(month), table=with_left_out(load(month).table, left_out))


def some(frame: pd.DataFrame, share: float) -> np.ndarray:
    return np.arange(len(frame)) < share * len(frame)


ROW_FAULTS: dict[str, Callable[[pd.DataFrame], MonthLoad]] = {
    "rows_are_plausible": lambda month: load(month, quarantined=1),
    "values_are_measured": lambda month: load(month.assign(ml_avg_odds=month["ml_avg_odds"].mask(some(month, 0.3)))),
    "market_features_are_numbers": _with_a_text,
    "windows_stand_once": lambda month: load(
        pd.concat([month, month[some(month, 0.1)].assign(id=lambda again: again["id"] + "b")])
    ),
}


def test_the_rows_of_a_month_pass(month: pd.DataFrame) -> None:
    assert failing(ROW_CHECKS, load(month)) == set()


def test_a_month_without_rows_passes() -> None:
    assert failing(ROW_CHECKS, MonthLoad(rows_schema().empty_table(), 0)) == set()


@pytest.mark.parametrize("name", [check.name for check in ROW_CHECKS])
def test_a_fault_in_the_rows_fails_its_check_only(name: str, month: pd.DataFrame) -> None:
    assert failing(ROW_CHECKS, ROW_FAULTS[name](month)) == {name}


def test_a_column_of_sentinels_is_not_measured(month: pd.DataFrame) -> None:
    assert failing(ROW_CHECKS, load(month.assign(profit_factor=999.0))) == {"values_are_measured"}


# --- split


def with_part(dataset: Dataset, part: str, **columns: object) -> Dataset:
    frame = getattr(dataset.parts, part).frame.assign(**columns)
    return replace(dataset, parts=replace(dataset.parts, **{part: Examples(frame)}))


def with_option(dataset: Dataset, **option: float) -> Dataset:
    spec = dataset.record.spec.model_copy(update=option)
    return replace(dataset, record=dataset.record.model_copy(update={"spec": spec}))


def _few(dataset: Dataset) -> Dataset:
    return with_option(dataset, min_examples=1_000_000)


def _other_label(dataset: Dataset) -> Dataset:
    return with_option(dataset, return_threshold=0.01)


def _late(dataset: Dataset) -> Dataset:
    start = dataset.parts.validation.decision_time.min()
    return with_part(dataset, "train", label_time=lambda part: part["label_time"].mask(some(part, 0.01), start + HOUR))


def _embargo_ignored(dataset: Dataset) -> Dataset:
    return with_option(dataset, embargo_days=40.0)


def _leak(dataset: Dataset) -> Dataset:
    noise = np.random.default_rng(0).normal(0, 0.2, len(dataset.parts.validation))
    return with_part(dataset, "validation", ml_avg_odds=dataset.parts.validation.y + noise)


def _one_sided(dataset: Dataset) -> Dataset:
    return with_part(dataset, "validation", label=lambda part: np.where(some(part, 0.95), 0.0, 1.0))


def _drifted(dataset: Dataset) -> Dataset:
    return with_part(dataset, "train", ml_avg_odds=lambda part: part["ml_avg_odds"] + 50)


def _rescored(dataset: Dataset) -> Dataset:
    panel = dataset.panel
    recent = panel["decision_time"] >= panel["decision_time"].max() - pd.Timedelta(days=60)
    return replace(dataset, panel=panel.assign(composite_score=panel["composite_score"] + 0.3 * recent))


def _bulk(dataset: Dataset) -> Dataset:
    return replace(dataset, panel=dataset.panel.assign(run_date=dataset.panel["end_date"] + pd.Timedelta(days=90)))


HOUR = pd.Timedelta(hours=1)
SPLIT_FAULTS: dict[str, tuple[Callable[[Dataset], Dataset], set[str]]] = {
    "enough_examples": (_few, set()),
    "no_label_after_split": (_late, {"purge_holds"}),
    "purge_holds": (_embargo_ignored, set()),
    "no_feature_is_too_good_to_be_true": (_leak, set()),
    "stakes_fit_the_label": (_other_label, set()),
    "classes_are_balanced": (_one_sided, set()),
    "features_have_not_drifted": (_drifted, set()),
    "composite_scores_have_not_drifted": (_rescored, set()),
    "decision_times_agree": (_bulk, set()),
}


def test_a_sound_split_passes(dataset: Dataset) -> None:
    assert failing(SPLIT_CHECKS, dataset) == set()


@pytest.mark.parametrize("name", [check.name for check in SPLIT_CHECKS])
def test_a_fault_in_the_split_fails_its_check(name: str, dataset: Dataset) -> None:
    plant, also = SPLIT_FAULTS[name]
    assert failing(SPLIT_CHECKS, plant(dataset)) == {name} | also


def test_a_row_in_two_parts_breaks_the_purge(dataset: Dataset) -> None:
    shared = dataset.parts.test.frame.head(1)
    twice = Examples(pd.concat([dataset.parts.validation.frame, shared]))
    assert "purge_holds" in failing(SPLIT_CHECKS, replace(dataset, parts=replace(dataset.parts, validation=twice)))


def test_a_row_twice_in_one_part_breaks_the_purge(dataset: Dataset) -> None:
    train = dataset.parts.train.frame
    twice = Examples(pd.concat([train.head(1), train]))
    assert failing(SPLIT_CHECKS, replace(dataset, parts=replace(dataset.parts, train=twice))) == {"purge_holds"}


def test_test_labels_known_after_the_month_are_late(dataset: Dataset) -> None:
    end = AsOf.parse(dataset.record.as_of).end
    late = with_part(dataset, "test", label_time=lambda part: part["label_time"].mask(some(part, 0.01), end))
    assert failing(SPLIT_CHECKS, late) == {"no_label_after_split"}


def test_drift_is_judged_on_strategies_that_still_run(dataset: Dataset) -> None:
    newest, end = newest_panel(dataset), AsOf.parse(dataset.record.as_of).end
    stopped = newest["strategy_id"].iloc[0]
    panel = dataset.panel
    lasting = (panel["strategy_id"] != stopped) | (panel["decision_time"] < end - pd.Timedelta(days=90))
    left = newest_panel(replace(dataset, panel=panel[lasting]))
    assert set(newest["strategy_id"]) - set(left["strategy_id"]) == {stopped}
    assert not left.duplicated(["strategy_id", "method"]).any()


def test_a_broken_guard_names_its_remedy(dataset: Dataset) -> None:
    assert broken_guards(SPLIT_CHECKS, dataset) == []
    assert broken_guards(SPLIT_CHECKS, _drifted(dataset)) == []
    (message,) = broken_guards(SPLIT_CHECKS, _leak(dataset))
    assert message.startswith("The check no_feature_is_too_good_to_be_true failed.")
    assert "ml_avg_odds" in message
    assert "a value this high means a leak" in message


# --- model, champion, predictions


def scored(probability: np.ndarray, label: np.ndarray) -> ScoredRows:
    times = pd.date_range("2023-01-01", periods=len(label), freq="D", tz="UTC")
    return ScoredRows(times, label.astype(float), label * 0.1, probability)


def test_only_a_model_that_knows_the_outcome_fails() -> None:
    rng = np.random.default_rng(0)
    label = rng.random(500) < 0.4
    honest = np.clip(0.4 + 0.1 * label + rng.normal(0, 0.15, 500), 0, 1)
    leaking = np.clip(0.1 + 0.8 * label + rng.normal(0, 0.05, 500), 0, 1)
    assert failing(MODEL_CHECKS, scored(honest, label)) == set()
    assert failing(MODEL_CHECKS, scored(leaking, label)) == {"model_is_not_too_good_to_be_true"}


CHAMPION = ChampionRecord(
    as_of="2023-06",
    action="refused",
    reasons=[],
    challenger_family="ensemble",
    challenger_version=2,
    champion_family="ensemble",
    champion_version=1,
    champion_as_of="2022-12",
)


@pytest.mark.parametrize(("champion_as_of", "stale"), [("2022-12", False), ("2022-11", True), (None, True)])
def test_a_champion_is_stale_after_half_a_year(champion_as_of: str | None, stale: bool) -> None:
    record = CHAMPION.model_copy(update={"champion_as_of": champion_as_of})
    assert failing(CHAMPION_CHECKS, record) == ({"champion_is_not_stale"} if stale else set())


PREDICTED = PredictionsRecord(
    as_of="2023-06",
    family="ensemble",
    version=1,
    strategies=10,
    staked=3,
    total_stake_fraction=0.1,
    newest_decision=datetime(2023, 6, 29, tzinfo=UTC),
)


def test_predictions_need_a_champion_and_fresh_rows() -> None:
    assert failing(PREDICTION_CHECKS, PREDICTED) == set()
    old = PREDICTED.model_copy(update={"newest_decision": datetime(2023, 5, 15, tzinfo=UTC)})
    none = PREDICTED.model_copy(update={"newest_decision": None, "family": None, "strategies": 0})
    assert failing(PREDICTION_CHECKS, old) == {"predictions_are_fresh"}
    assert failing(PREDICTION_CHECKS, none) == {"predictions_are_fresh"}


# --- all of them


def test_every_check_of_the_graph_has_a_planted_fault() -> None:
    tables = (ROW_CHECKS, SPLIT_CHECKS, MODEL_CHECKS, EVALUATION_CHECKS, CHAMPION_CHECKS, PREDICTION_CHECKS)
    checks = {check.name: check for table in (*tables, STUDY_CHECKS, MONITORING_CHECKS) for check in table}
    graph = defs.resolve_asset_graph()
    described = {key.name: graph.get_check_spec(key).description for key in graph.asset_check_keys}
    assert described == {name: check.description for name, check in checks.items()}
    assert set(ROW_FAULTS) == {check.name for check in ROW_CHECKS}
    assert set(SPLIT_FAULTS) == {check.name for check in SPLIT_CHECKS}
    assert set(test_checks.FAULTS) == {check.name for check in EVALUATION_CHECKS}
    assert set(test_study_checks.FAULTS) == {check.name for check in STUDY_CHECKS}
