"""Simulated rows: their layout, the bets behind them, and the skill hidden in them."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.betting.performance import max_drawdown, profit_factor, sharpe_ratio
from cleverbetter_dagster.dataset.schema import BOUNDS, SENTINELS
from cleverbetter_dagster.dataset.simulation.market import CELL_SHAPE, mispricing, race_month
from cleverbetter_dagster.dataset.simulation.metrics import (
    DAYS_PER_YEAR,
    INITIAL_CAPITAL,
    LEAST_BETS,
    composite_score,
    place_bets,
    row_features,
    row_metrics,
)
from cleverbetter_dagster.dataset.simulation.rows import RESULT_COLUMNS, SimulationSpec, simulate_rows
from cleverbetter_dagster.dataset.simulation.strategies import Strategies, draw_strategies

SPEC = SimulationSpec(n_strategies=60, months=14)
CELLS = int(np.prod(CELL_SHAPE))


@pytest.fixture(scope="module")
def simulated():
    return simulate_rows(SPEC)


@pytest.fixture(scope="module")
def runners():
    return race_month(np.random.default_rng(0), np.zeros(CELLS), days=30)


def everything(lays: bool) -> Strategies:
    return Strategies(np.array([lays]), np.ones((1, CELLS), dtype=bool), np.array([0]))


def test_columns_are_those_of_the_upstream_tables(simulated):
    results, features = simulated

    assert tuple(results.columns) == RESULT_COLUMNS
    assert list(features.columns) == ["backtest_result_id", "computed_at", "features"]
    assert features["backtest_result_id"].tolist() == results["id"].tolist()
    assert {"avg_odds", "avg_volume", "odds_drift", "avg_spread", "overround", "avg_rank"} <= set(
        json.loads(features["features"].iloc[0])
    )


def test_every_row_is_one_strategy_and_month(simulated):
    results, _ = simulated

    assert results["id"].is_unique
    assert not results.duplicated(["strategy_id", "start_date"]).any()
    assert (results["end_date"] + pd.Timedelta(seconds=1) == results["start_date"] + pd.offsets.MonthBegin()).all()
    assert (results["run_date"] > results["end_date"]).all()
    assert (results["created_at"] > results["run_date"]).all()
    assert str(results["start_date"].dt.tz) == "UTC"


def test_no_value_breaks_a_rule_of_the_schema(simulated):
    results, features = simulated
    metrics = results.rename(columns={"total_return": "roi"})

    assert not results.isna().any().any()
    for column, bounds in BOUNDS.items():
        assert metrics[column].between(bounds.low, bounds.high).all(), column
    assert (results["total_bets"] >= LEAST_BETS).all()
    assert (results["profit_factor"] <= SENTINELS["profit_factor"]).all()
    numbers = pd.DataFrame([json.loads(line) for line in features["features"]])
    assert np.isfinite(numbers.to_numpy(dtype=float)).all()


def test_the_return_is_the_change_of_the_capital(simulated):
    results, _ = simulated
    change = results["final_capital"] / results["initial_capital"] - 1

    np.testing.assert_allclose(results["total_return"], change, atol=1e-12)
    # A drawdown is at least the loss over the whole window.
    assert (results["max_drawdown"] >= -results["total_return"] - 1e-5).all()
    assert ((results["profit_factor"] > 1) == (results["total_return"] > 0))[results["total_return"].abs() > 1e-4].all()


def test_only_the_same_seed_gives_the_same_rows(simulated):
    again = simulate_rows(SPEC)

    pd.testing.assert_frame_equal(again[0], simulated[0])
    pd.testing.assert_frame_equal(again[1], simulated[1])
    other, _ = simulate_rows(SPEC.model_copy(update={"seed": SPEC.seed + 1, "months": 2}))
    assert not set(other["id"]) & set(simulated[0]["id"])
    assert not set(other["strategy_id"]) & set(simulated[0]["strategy_id"])


def test_more_months_only_add_rows(simulated):
    shorter, shorter_features = simulate_rows(SPEC.model_copy(update={"months": 3}))

    pd.testing.assert_frame_equal(shorter, simulated[0].head(len(shorter)))
    pd.testing.assert_frame_equal(shorter_features, simulated[1].head(len(shorter)))


def test_a_simulation_without_bets_has_all_columns():
    results, features = simulate_rows(SimulationSpec(n_strategies=1, months=1, seed=_seed_without_a_bet()))

    assert (len(results), tuple(results.columns)) == (0, RESULT_COLUMNS)
    assert len(features) == 0


def _seed_without_a_bet() -> int:
    """A single strategy that begins later than the only month: a quarter of the seeds."""
    return next(
        seed for seed in range(50) if simulate_rows(SimulationSpec(n_strategies=1, months=1, seed=seed))[0].empty
    )


def test_beliefs_of_a_race_sum_to_one(runners):
    first = _race_starts(runners)
    race = np.repeat(np.arange(len(first)), runners.field_size[first])

    assert np.bincount(race, runners.belief) == pytest.approx(np.ones(len(first)))
    assert np.bincount(race, runners.won).tolist() == [1] * len(first)
    assert np.bincount(race, 1 / runners.back_odds) == pytest.approx(runners.overround[first])
    assert (runners.lay_odds > runners.back_odds).all()
    assert (np.diff(runners.day) >= 0).all()
    assert runners.cell.max() < CELLS


def _race_starts(runners) -> np.ndarray:
    starts, position = [], 0
    while position < len(runners.field_size):
        starts.append(position)
        position += runners.field_size[position]
    return np.array(starts)


def test_longshots_are_overbet_and_favourites_underbet():
    rng = np.random.default_rng(1)
    months = [race_month(rng, np.zeros(CELLS), days=30) for _ in range(40)]
    odds, belief, won = (np.concatenate([getattr(m, n) for m in months]) for n in ("back_odds", "belief", "won"))

    def strike(chosen):
        return won[chosen].mean() / belief[chosen].mean()

    assert strike(odds < 3) > 1.01
    assert strike(odds > 20) < 0.95


def test_a_mispriced_cell_wins_more_often_than_believed():
    mispriced = np.zeros(CELLS)
    mispriced[: CELLS // 2] = 0.5
    runners = race_month(np.random.default_rng(2), mispriced, days=30)
    better = runners.cell < CELLS // 2

    assert runners.won[better].mean() / runners.belief[better].mean() > 1.05
    assert runners.won[~better].mean() / runners.belief[~better].mean() < 0.95


def test_mispricing_differs_between_cells_lasts_and_drifts():
    months = mispricing(np.random.default_rng(3), 48)
    lasting = np.corrcoef(months[0], months[-1])[0, 1]
    neighbouring = np.corrcoef(months[0], months[1])[0, 1]

    assert months.shape == (48, CELLS)
    assert 0.3 < lasting < neighbouring < 1


@pytest.mark.parametrize("lays", [False, True])
def test_row_metrics_agree_with_single_bets(runners, lays):
    bets = place_bets(everything(lays), runners, month=0)
    row = row_metrics(bets, days=30).iloc[0]
    won, odds = runners.won, (runners.lay_odds if lays else runners.back_odds)
    back, lay = np.where(won, 0.5 * (odds - 1) * 0.95, -0.5), np.where(won, -0.5 * (odds - 1), 0.5 * 0.95)
    profit = (lay if lays else back)[: len(bets.profit)]
    daily = [profit[runners.day[: len(profit)] == day].sum() / INITIAL_CAPITAL for day in range(30)]

    np.testing.assert_allclose(bets.profit, profit)
    assert row["total_bets"] == len(profit)
    assert row["final_capital"] == pytest.approx(INITIAL_CAPITAL + profit.sum(), abs=0.005)
    assert row["profit_factor"] == pytest.approx(profit_factor(profit))
    assert row["win_rate"] == pytest.approx((profit > 0).mean())
    assert row["sharpe_ratio"] == pytest.approx(sharpe_ratio(daily, DAYS_PER_YEAR))
    assert row["max_drawdown"] == pytest.approx(max_drawdown(INITIAL_CAPITAL + np.append(0, np.cumsum(profit))))


def test_composite_score_by_hand():
    # Each metric in the middle of its scale: 0.5 everywhere.
    middle = {"total_return": 0.25, "sharpe_ratio": 0.5, "max_drawdown": 0.25, "win_rate": 0.5, "profit_factor": 1.5}
    best = {"total_return": 1.0, "sharpe_ratio": 3.0, "max_drawdown": 0.0, "win_rate": 1.0, "profit_factor": 999.0}
    worst = {"total_return": -0.9, "sharpe_ratio": -9.0, "max_drawdown": 0.9, "win_rate": 0.0, "profit_factor": 0.0}
    # Nothing but the return: half of it directly, a fifth of the other half, and the drawdown's free 15%.
    lucky = {"total_return": 1.0, "sharpe_ratio": -2.0, "max_drawdown": 0.0, "win_rate": 0.0, "profit_factor": 0.0}

    scores = composite_score(pd.DataFrame([middle, best, worst, lucky]))

    assert scores.tolist() == pytest.approx([0.5, 1.0, 0.0, 0.5 * (0.2 + 0.15) + 0.5])


def test_market_features_are_means_over_the_bets(runners):
    bets = place_bets(everything(lays=False), runners, month=0)
    features = row_features(bets, runners, days=30).iloc[0]
    n = len(bets.profit)

    assert features["avg_odds"] == pytest.approx(runners.back_odds[:n].mean())
    assert features["expected_win_rate"] == pytest.approx(runners.belief[:n].mean())
    assert features["bets_per_day"] == pytest.approx(n / len(set(runners.day[:n])))
    assert features["consistency_score"] in (0, 1 / 3, 2 / 3, 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_strategy_stops_when_its_capital_is_too_small(seed):
    # Laying every runner of a world where longshots win far more often than believed.
    mispriced = np.zeros(CELL_SHAPE)
    mispriced[-1] = 3.0
    runners = race_month(np.random.default_rng(seed), mispriced.ravel(), days=30)
    bets = place_bets(everything(lays=True), runners, month=0)
    capital = INITIAL_CAPITAL + np.append(0, np.cumsum(bets.profit))
    liability, placed = 0.5 * (runners.lay_odds - 1), len(bets.profit)

    assert placed < len(runners.won)
    assert (capital[:-1] >= liability[:placed]).all()
    assert capital[-1] < liability[placed]


def test_strategies_bet_on_a_bounded_share_of_runners():
    share = np.full(CELLS, 1 / CELLS)
    strategies = draw_strategies(np.random.default_rng(5), 200, share)

    assert len(strategies) == 200
    assert (strategies.cells.mean(axis=1) >= 0.001).all()
    assert (strategies.cells.mean(axis=1) <= 0.25).all()
    assert 0.3 < strategies.lays.mean() < 0.7
    assert 0.6 < (strategies.first_month == 0).mean() < 0.9


def test_skill_persists_and_noise_shrinks_with_bets(simulated):
    results, _ = simulated
    ordered = results.sort_values(["strategy_id", "start_date"])
    by_strategy = ordered.groupby("strategy_id")
    following = by_strategy["total_return"].shift(-1)
    known = following.notna()
    mean_so_far = by_strategy["total_return"].cumsum() / by_strategy["total_bets"].cumsum()
    profitable = following[known] > 0

    assert 0.2 < profitable.mean() < 0.5
    assert 0.6 < roc_auc_score(profitable, mean_so_far[known]) < 0.85
    # Profit per bet scatters less where there are many bets.
    per_bet = ordered["total_return"] / ordered["total_bets"]
    few = ordered["total_bets"] < ordered["total_bets"].median()
    assert per_bet[few].std() > 2 * per_bet[~few].std()


@pytest.mark.parametrize(
    ("field", "value"), [("n_strategies", 0), ("months", 0), ("first_month", "2020-13"), ("seed", -1)]
)
def test_the_spec_is_bounded(field, value):
    with pytest.raises(ValidationError):
        SimulationSpec(**{field: value})


def test_the_spec_sets_first_month_and_number_of_months():
    results, _ = simulate_rows(SimulationSpec(n_strategies=20, months=2, first_month="2021-12"))

    assert sorted(results["start_date"].dt.strftime("%Y-%m").unique()) == ["2021-12", "2022-01"]
