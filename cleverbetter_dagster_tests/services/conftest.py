"""Small, fixed worlds the services are tried on."""

import json

import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.schema import ROI
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split

SIMULATION = SimulationSpec(n_strategies=120, first_month="2021-01", months=30)
AS_OF = AsOf.parse("2023-06")


def canonical(results: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Upstream's layout as canonical rows, as the loader would give them."""
    market = pd.DataFrame([json.loads(text) for text in features["features"]]).add_prefix("ml_")
    return (
        results.rename(columns={"total_return": ROI})
        .drop(columns=["initial_capital", "final_capital", "recommendation"])
        .join(market)
        .astype({"total_bets": float})
    )


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    return canonical(*simulate_rows(SIMULATION))


@pytest.fixture(scope="session")
def dataset(rows: pd.DataFrame) -> Dataset:
    return plan_split(rows, AS_OF, DatasetSpec(min_composite_score=None))
