"""Simulated rows in the layout of the upstream tables, to try the program without a backtesting service.

Strategies (`strategies`) bet on simulated races (`market`), and every number of a row is measured from these bets
(`metrics`). As in real rows, skill is hidden in noise that shrinks with the number of bets, and it is lost when the
mistakes of the market change.
"""

from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.simulation.market import CELL_SHAPE, mispricing, race_month
from cleverbetter_dagster.dataset.simulation.metrics import place_bets, row_features, row_metrics
from cleverbetter_dagster.dataset.simulation.strategies import Strategies, draw_strategies
from cleverbetter_dagster.setting_types import Month

METHOD = "historical_replay"

RESULT_COLUMNS = (
    "id",
    "strategy_id",
    "run_date",
    "start_date",
    "end_date",
    "initial_capital",
    "final_capital",
    "total_return",
    "sharpe_ratio",
    "max_drawdown",
    "total_bets",
    "win_rate",
    "profit_factor",
    "method",
    "composite_score",
    "recommendation",
    "created_at",
)


class SimulationSpec(BaseModel):
    """What to simulate. The same spec always gives the same rows and ids; more months only add rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_strategies: Annotated[int, Field(ge=1, le=5_000)] = 400
    first_month: Month = "2020-01"
    months: Annotated[int, Field(ge=1, le=600)] = 48
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 8


def simulate_rows(spec: SimulationSpec | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate backtests of `n_strategies` over `months`.

    Returns:
        Backtest rows (columns `RESULT_COLUMNS`) and market features (`backtest_result_id`, `computed_at`,
        and `features`, a JSON object as text): one line of each per strategy and month with at least ten
        bets, in order of months. No value is missing.
    """
    spec = spec or SimulationSpec()
    world, *monthly = np.random.default_rng(spec.seed).spawn(spec.months + 1)
    mispriced = mispricing(world, spec.months)
    strategies = draw_strategies(world, spec.n_strategies, _cell_share(world, mispriced))
    first = AsOf.parse(spec.first_month)
    parts = [
        _rows_of_month(rng, strategies, mispriced[number], number, first.plus(number))
        for number, rng in enumerate(monthly)
    ]
    results = pd.concat([part for part, _ in parts], ignore_index=True)
    features = pd.concat([part for _, part in parts], ignore_index=True)
    results["strategy_id"], results["id"] = _ids(spec, results["strategy"], results["month"])
    return results[list(RESULT_COLUMNS)], _feature_table(results, features)


def _cell_share(rng: np.random.Generator, mispriced: FloatArray) -> FloatArray:
    """Share of all runners in each cell, from a month of races without bets."""
    cells = race_month(rng, mispriced[0], days=30).cell
    return np.bincount(cells, minlength=int(np.prod(CELL_SHAPE))) / len(cells)


def _rows_of_month(
    rng: np.random.Generator, strategies: Strategies, mispriced: FloatArray, number: int, month: AsOf
) -> tuple[pd.DataFrame, pd.DataFrame]:
    days = month.first_day.days_in_month
    runners = race_month(rng, mispriced, days)
    bets = place_bets(strategies, runners, number)
    results, features = row_metrics(bets, days), row_features(bets, runners, days)
    start, end = month.first_day, month.plus(1).first_day
    minutes = rng.integers(60, 48 * 60, len(results))
    results["month"] = month.key
    results["start_date"], results["end_date"], results["method"] = start, end - pd.Timedelta(seconds=1), METHOD
    results["run_date"] = end + pd.to_timedelta(minutes, unit="min")
    results["created_at"] = results["run_date"] + pd.Timedelta(seconds=5)
    results["recommendation"] = _recommendation(results, features["consistency_score"])
    return results, features


def _recommendation(results: pd.DataFrame, consistency: pd.Series) -> np.ndarray:
    """Upstream's recommendation for each row, from its own numbers."""
    score, profit = results["composite_score"], results["total_return"]
    accept = (score > 0.7) & (profit > 0) & (consistency > 0.6)
    reject = (score < 0.4) | (profit < 0) | (consistency < 0.4)
    return np.select([accept, reject], ["ACCEPT", "REJECT"], "NEEDS_REVIEW")


def _ids(spec: SimulationSpec, strategy: pd.Series, month: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Ids of strategies and rows. They depend on the spec except for its number of months."""
    world = uuid5(NAMESPACE_URL, f"sample-rows/{spec.seed}/{spec.n_strategies}/{spec.first_month}")
    names = np.array([str(uuid5(world, f"strategy/{number}")) for number in range(spec.n_strategies)], dtype=object)
    windows = zip(strategy.tolist(), month.tolist(), strict=True)
    return names[strategy], [str(uuid5(world, f"row/{number}/{month}")) for number, month in windows]


def _feature_table(results: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    # No key or number contains a space, so each word of the text is the object of one line.
    lines = features.round(6).to_json(orient="records", lines=True).split()
    return pd.DataFrame({"backtest_result_id": results["id"], "computed_at": results["created_at"], "features": lines})
