"""Small rows with a planted, lasting edge per strategy, and the examples the dataset room makes of them."""

import os
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition, split_examples
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.store.tracking.plain_files import model_of, plain_files

SPEC = DatasetSpec(min_composite_score=None, min_examples=1)

SMALL = {
    "ensemble": {
        "n_estimators": 20,
        "learning_rate": 0.1,
        "min_leaf_rows": 20,
        "forest_trees": 20,
        "n_folds": 2,
    },
    "classifier": {
        "heads": 4,
        "width": 8,
        "depth": 1,
        "learning_rate": 0.01,
        "batch_rows": 64,
        "max_epochs": 12,
        "patience": 4,
    },
    "rl_agent": {
        "n_folds": 2,
        "agents": 2,
        "total_steps": 2048,
        "checkpoints": 1,
        "rollout_steps": 16,
        "epochs": 1,
    },
}
"""Parameters of families that fit in a fraction of a second; `small` gives the defaults of another one."""


def small(name: str) -> dict[str, Any]:
    return SMALL.get(name, {})


def stored_and_loaded(model: FittedModel) -> FittedModel:
    types = FAMILIES[model.family].stored_types
    return model_of(plain_files(model, types), types)


def backtest_rows(strategies: int = 40, months: int = 24, seed: int = 7) -> pd.DataFrame:
    """Canonical rows: a strategy earns its edge plus noise; `ml_spread` is missing in the early half."""
    rng = np.random.default_rng(seed)
    starts = pd.date_range("2020-01-01", periods=months, freq="MS", tz="UTC").as_unit("us")
    strategy = np.repeat(np.arange(strategies), months)
    month = np.tile(np.arange(months), strategies)
    n = len(strategy)
    roi = rng.normal(0.0, 0.03, strategies)[strategy] + rng.normal(0.0, 0.02, n)
    bets = rng.integers(20, 400, n).astype(float)
    end = starts[month] + pd.offsets.MonthBegin(1) - pd.Timedelta(seconds=1)
    return pd.DataFrame(
        {
            "id": [f"row-{i:05d}" for i in range(n)],
            "strategy_id": [f"strategy-{s:03d}" for s in strategy],
            "method": "replay",
            "run_date": end + pd.Timedelta(hours=1),
            "start_date": starts[month],
            "end_date": end,
            "roi": roi,
            "sharpe_ratio": roi * 50,
            "max_drawdown": np.clip(0.05 - roi, 0.0, 1.0),
            "win_rate": np.clip(0.4 + roi, 0.0, 1.0),
            "profit_factor": np.exp(10 * roi),
            "total_bets": bets,
            "composite_score": 0.4,
            "ml_avg_odds": rng.uniform(1.5, 10.0, n),
            "ml_spread": np.where(month < months // 2, np.nan, rng.uniform(0.0, 0.1, n)),
        }
    )


def partition_of(rows: pd.DataFrame, as_of_end: pd.Timestamp | None = None) -> Partition:
    """The split examples of what was known before `as_of_end`."""
    return split_examples(build_panel(rows, as_of_end, SPEC), SPEC)


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    return backtest_rows()


@pytest.fixture(scope="session")
def partition(rows: pd.DataFrame) -> Partition:
    return partition_of(rows)
