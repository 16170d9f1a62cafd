"""The table holds what was written last, exactly, and the view what a betting service may act on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.betting.exposure import Exposure
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import Decision
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.predictions import COLUMNS, ScoredBy, read_predictions, write_predictions
from cleverbetter_dagster.store.source.changes import Digest, InFlightRows
from cleverbetter_dagster.store.source.load_log import LoadedMonth, record_load

JUNE = ScoredBy("2023-06", "ensemble", 1, "run-1", StakingSpec())


class NoMirror:
    def set_champion(self, family: str, version: int) -> None:
        pass


def frame(*strategies: str, stake: float = 0.02) -> pd.DataFrame:
    n = len(strategies)
    return pd.DataFrame(
        {
            "strategy_id": strategies,
            "method": "walk, \"forward\"\n'ä'",
            "backtest_result_id": [f"row of {name}" for name in strategies],
            "decision_time": pd.Timestamp("2023-06-30 23:59:59.123456", tz="UTC"),
            "probability": 1 / 3 + np.arange(n) / 1000,
            "score": 0.1 + 0.2,
            "confidence": 0.8,
            "recommended_stake": stake,
            "expected_return": -0.01,
        }
    )


def promote(state: Settings, version: int, as_of: str) -> None:
    asked = Decision("ensemble", version, f"run-{version}", as_of, "better", "test")
    ledger.promote(state, NoMirror(), asked, ledger.champion_at(state, as_of))


def loaded(state: Settings, *months: str) -> None:
    record_load(state, {month: LoadedMonth(Digest(1, ""), "db", 1, InFlightRows()) for month in months}, "run", None)


def served(state: Settings) -> list[tuple[str, int, str]]:
    shown = read_predictions(state)
    return sorted(zip(shown["as_of"], shown["model_version"], shown["strategy_id"], strict=True))


def test_the_view_shows_how_much_of_the_stakes_moves_together(empty_registry: Settings) -> None:
    exposure = Exposure(staked=2, total_fraction=0.04, common_share=0.7, effective_bets=1.3, months=24)
    write_predictions(empty_registry, frame("a", "b"), replace(JUNE, exposure=exposure))
    promote(empty_registry, 1, "2023-06")
    shown = read_predictions(empty_registry)[["covariance_months", "common_share", "effective_bets"]]
    assert shown.to_numpy().tolist() == [[24, 0.7, 1.3]] * 2
    write_predictions(empty_registry, frame("a", "b"), JUNE)
    assert read_predictions(empty_registry)["covariance_months"].tolist() == [0, 0]


def test_predictions_come_back_bit_by_bit(empty_registry: Settings) -> None:
    write_predictions(empty_registry, frame("a", "b"), JUNE)
    stored = read_predictions(empty_registry, "2023-06").sort_values("strategy_id", ignore_index=True)
    expected = frame("a", "b")
    pd.testing.assert_frame_equal(stored[COLUMNS], expected, check_exact=True, check_dtype=False)
    assert stored[["as_of", "family", "model_version", "run_id"]].iloc[0].tolist() == [
        "2023-06",
        "ensemble",
        1,
        "run-1",
    ]
    assert str(stored["decision_time"].dt.tz) == "UTC"


def test_unknown_numbers_are_nan_and_empty_methods_stay(empty_registry: Settings) -> None:
    unknown = frame("a").assign(score=np.nan, confidence=np.nan, expected_return=np.nan, method="")
    write_predictions(empty_registry, unknown, JUNE)
    stored = read_predictions(empty_registry, "2023-06")
    assert stored[["score", "confidence", "expected_return"]].isna().all(axis=None)
    assert stored["method"].tolist() == [""]


def test_writing_the_same_again_changes_no_row(empty_registry: Settings) -> None:
    write_predictions(empty_registry, frame("a", "b"), JUNE)
    before = read_predictions(empty_registry, "2023-06")
    write_predictions(empty_registry, frame("a", "b"), JUNE)
    pd.testing.assert_frame_equal(read_predictions(empty_registry, "2023-06"), before)


def test_writing_anew_replaces_what_changed_and_removes_what_is_gone(empty_registry: Settings) -> None:
    write_predictions(empty_registry, frame("a", "b", "c"), JUNE)
    write_predictions(empty_registry, frame("a", "b", stake=0.05).iloc[1:], JUNE)
    stored = read_predictions(empty_registry, "2023-06")
    assert stored[["strategy_id", "recommended_stake"]].to_numpy().tolist() == [["b", 0.05]]


def test_other_months_and_versions_are_not_touched(empty_registry: Settings) -> None:
    july = ScoredBy("2023-07", "ensemble", 1, "run-1", StakingSpec())
    second = ScoredBy("2023-06", "ensemble", 2, "run-2", StakingSpec())
    for by in (JUNE, july, second):
        write_predictions(empty_registry, frame("a", "b"), by)
    write_predictions(empty_registry, frame("a"), JUNE)
    assert len(read_predictions(empty_registry, "2023-06")) == 3
    assert len(read_predictions(empty_registry, "2023-07")) == 2


def test_an_empty_frame_removes_a_months_rows(empty_registry: Settings) -> None:
    write_predictions(empty_registry, frame("a"), JUNE)
    write_predictions(empty_registry, frame("a").iloc[:0], JUNE)
    assert read_predictions(empty_registry, "2023-06").empty


def test_an_empty_table_is_an_empty_frame(empty_registry: Settings) -> None:
    stored = read_predictions(empty_registry)
    assert stored.empty
    assert set(COLUMNS) < set(stored.columns)
    assert stored["probability"].dtype == "float64"


def test_two_writers_of_one_month_leave_the_rows_of_one(empty_registry: Settings) -> None:
    write_predictions(empty_registry, frame("z"), JUNE)
    # Enough rows that the writers overlap.
    sets = [frame(*(f"{letter}{i}" for i in range(4000))).assign(probability=0.5) for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: write_predictions(empty_registry, one, JUNE), sets))
    stored = read_predictions(empty_registry, "2023-06")
    assert len(stored) == 4000
    assert len(set(stored["strategy_id"].str[0])) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda good: good.drop(columns="score"), "lack score"),
        (lambda good: good.assign(probability=1.2), "probability of 'a' is 1.2, outside 0..1"),
        (lambda good: good.assign(recommended_stake=-0.1), "recommended_stake of 'a' is -0.1"),
        (lambda good: good.assign(recommended_stake=np.nan), "miss values in recommended_stake"),
        (lambda good: good.assign(expected_return=np.inf), "expected_return of 'a' is inf"),
        (lambda good: good.assign(strategy_id="a"), "'a' .* is predicted twice"),
        (lambda good: good.assign(score="high"), "wrong kind.*high"),
    ],
    ids=["column", "probability", "stake", "missing stake", "infinite", "twice", "kind"],
)
def test_predictions_that_cannot_be_right_are_refused_whole(
    empty_registry: Settings, wrong: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    write_predictions(empty_registry, frame("old"), JUNE)
    with pytest.raises(DataError, match=message):
        write_predictions(empty_registry, wrong(frame("a", "b")), JUNE)
    assert read_predictions(empty_registry, "2023-06")["strategy_id"].tolist() == ["old"]


def test_the_view_shows_the_champions_rows_of_the_newest_month(empty_registry: Settings) -> None:
    loaded(empty_registry, "2023-06", "2023-07")
    write_predictions(empty_registry, frame("a"), JUNE)
    assert served(empty_registry) == []
    promote(empty_registry, 1, "2023-06")
    assert served(empty_registry) == [("2023-06", 1, "a")]
    write_predictions(empty_registry, frame("b"), ScoredBy("2023-07", "ensemble", 1, "run-1", StakingSpec()))
    assert served(empty_registry) == [("2023-07", 1, "b")]
    write_predictions(empty_registry, frame("late"), ScoredBy("2023-05", "ensemble", 1, "run-1", StakingSpec()))
    assert served(empty_registry) == [("2023-07", 1, "b")]


def test_a_month_a_withdrawn_model_scored_without_rows_is_ignored(empty_registry: Settings) -> None:
    loaded(empty_registry, "2023-06")
    promote(empty_registry, 1, "2023-06")
    promote(empty_registry, 2, "2023-07")
    write_predictions(empty_registry, frame("a"), ScoredBy("2023-07", "ensemble", 2, "run-2", StakingSpec()))
    ledger.roll_back(empty_registry, NoMirror(), Decision("ensemble", 1, "run-1", "2023-06", "lost money", "a person"))
    write_predictions(empty_registry, frame("b"), JUNE)
    assert served(empty_registry) == [("2023-06", 1, "b")]


def test_the_view_shows_only_the_present_champion(empty_registry: Settings) -> None:
    loaded(empty_registry, "2023-06", "2023-07")
    promote(empty_registry, 1, "2023-06")
    write_predictions(empty_registry, frame("a"), JUNE)
    promote(empty_registry, 2, "2023-07")
    assert served(empty_registry) == []
    write_predictions(empty_registry, frame("b"), ScoredBy("2023-07", "ensemble", 2, "run-2", StakingSpec()))
    write_predictions(empty_registry, frame("late"), ScoredBy("2023-06", "ensemble", 2, "run-2", StakingSpec()))
    assert served(empty_registry) == [("2023-07", 2, "b")]
    back = Decision("ensemble", 1, "run-1", "2023-06", "lost money", "a person")
    ledger.roll_back(empty_registry, NoMirror(), back)
    assert served(empty_registry) == [], "stakes of June are no stakes for July"
    write_predictions(empty_registry, frame("c"), ScoredBy("2023-07", "ensemble", 1, "run-1", StakingSpec()))
    assert served(empty_registry) == [("2023-07", 1, "c")]


def test_the_right_to_read_the_view_is_enough(empty_registry: Settings) -> None:
    promote(empty_registry, 1, "2023-06")
    write_predictions(empty_registry, frame("a"), JUNE)
    with psycopg_connect(empty_registry, "state") as connection:
        connection.execute("CREATE ROLE betting_service")
        connection.execute("GRANT USAGE ON SCHEMA cleverbetter TO betting_service")
        connection.execute("GRANT SELECT ON current_predictions TO betting_service")
        connection.execute("SET ROLE betting_service")
        readable = connection.execute("SELECT strategy_id, recommended_stake FROM cleverbetter.current_predictions")
        assert readable.fetchall() == [("a", 0.02)]
        connection.rollback()
