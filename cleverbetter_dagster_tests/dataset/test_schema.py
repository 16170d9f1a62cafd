"""Names, bounds and sentinels of the canonical columns."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cleverbetter_dagster.dataset.schema import (
    BOUNDS,
    METRICS,
    REQUIRED,
    SENTINELS,
    market_columns,
    rows_frame,
    sentinel_mask,
)
from cleverbetter_dagster_tests.dataset.panels import rows_schema


def test_the_guides_six_metrics_are_required_columns() -> None:
    assert METRICS == ("sharpe_ratio", "roi", "max_drawdown", "win_rate", "profit_factor", "total_bets")
    assert set(METRICS) < set(REQUIRED)


def test_bounds_and_sentinels_name_required_columns() -> None:
    assert {*BOUNDS, *SENTINELS} <= set(REQUIRED)


@pytest.mark.parametrize(
    ("column", "value", "is_sentinel"),
    [
        ("profit_factor", 998.9, False),
        ("profit_factor", 999.0, True),
        ("profit_factor", 9999.0, True),
        ("sharpe_ratio", -999.0, True),
        ("sharpe_ratio", -60.0, False),
        ("roi", 999.0, False),
        ("ml_mc_profit_factor", 999.0, True),
        ("ml_mc_sharpe_ratio", -100.0, True),
        ("ml_sortino", -100.0, True),
        ("ml_calmar_ratio", -100.0, True),
        ("ml_calmar_ratio", -999.0, True),
        ("ml_calmar_ratio", 999.0, False),
        ("ml_profit", -100.0, False),
        ("ml_avg_volume", 999.0, False),
        ("ml_avg_volume", -999.0, True),
        ("profit_factor", np.nan, False),
    ],
)
def test_sentinels_are_recognised(column: str, value: float, is_sentinel: bool) -> None:
    assert sentinel_mask(column, np.array([value])).tolist() == [is_sentinel]


def test_market_features_are_sorted_by_name() -> None:
    assert market_columns(["roi", "ml_b", "ml_a", "html_c"]) == ["ml_a", "ml_b"]


def test_an_empty_frame_has_the_types_of_a_full_one() -> None:
    schema = rows_schema(["ml_x"])
    full = rows_frame(pa.Table.from_pylist([{"id": "r1", "roi": 1}], schema))
    pd.testing.assert_series_equal(rows_frame(schema.empty_table()).dtypes, full.dtypes)
    assert full["end_date"].dtype == "datetime64[us, UTC]"
    assert full["total_bets"].dtype == np.float64
