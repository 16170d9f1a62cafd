"""Missing measurements, sentinels included, and repeated windows."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.services.ingest.row_checks import repeated_windows, unmeasured_shares
from cleverbetter_dagster_tests.dataset.panels import empty_rows

ROWS = pd.DataFrame(
    {
        "strategy_id": ["a", "a", "a", "b"],
        "method": "",
        "start_date": pd.to_datetime(["2023-01-01", "2023-01-01", "2023-02-01", "2023-01-01"], utc=True),
        "end_date": pd.to_datetime(["2023-01-31", "2023-01-31", "2023-02-28", "2023-01-31"], utc=True),
        "sharpe_ratio": [1.0, 2.0, 999.0, -999.0],
        "roi": 0.1,
        "max_drawdown": 0.1,
        "win_rate": 0.5,
        "profit_factor": [999.0, 1.0, 1.0, 1.0],
        "total_bets": 10.0,
        "ml_volume": [np.nan, -999.0, np.nan, 5.0],
    }
)


def test_missing_values_and_sentinels_are_counted_worst_first() -> None:
    shares = unmeasured_shares(ROWS)
    assert shares[shares > 0].to_dict() == {"ml_volume": 0.75, "sharpe_ratio": 0.5, "profit_factor": 0.25}
    assert shares.index[0] == "ml_volume"


def test_only_a_second_run_of_a_window_is_repeated() -> None:
    assert repeated_windows(ROWS) == 1


def test_without_rows_nothing_is_missing_or_repeated() -> None:
    assert unmeasured_shares(empty_rows()).empty
    assert repeated_windows(empty_rows()) == 0
