"""A few rows as the backtesting service writes them. Each test changes only what it tests."""

import pandas as pd

FEATURES = '{"avg_odds": 4.5, "overround": 1.03}'


def upstream_results(count: int = 3) -> pd.DataFrame:
    """Backtest rows with ids r1, r2, ...: one strategy, one month each, from January 2023."""
    starts = pd.date_range("2023-01-01", periods=count, freq="MS", tz="UTC")
    ends = starts + pd.offsets.MonthBegin() - pd.Timedelta(seconds=1)
    return pd.DataFrame(
        {
            "id": [f"r{number}" for number in range(1, count + 1)],
            "strategy_id": "s1",
            "run_date": ends + pd.Timedelta(hours=2),
            "start_date": starts,
            "end_date": ends,
            "initial_capital": 1000.0,
            "final_capital": 1012.5,
            "total_return": 0.0125,
            "sharpe_ratio": 1.5,
            "max_drawdown": 0.25,
            "total_bets": 40,
            "win_rate": 0.375,
            "profit_factor": 1.25,
            "method": "replay",
            "composite_score": 0.5,
            "recommendation": "ACCEPT",
            "created_at": ends + pd.Timedelta(hours=3),
        }
    )


def upstream_features(count: int = 3) -> pd.DataFrame:
    """The market features of `upstream_results(count)`: one JSON object each, all the same."""
    results = upstream_results(count)
    return pd.DataFrame(
        {"backtest_result_id": results["id"], "computed_at": results["created_at"], "features": FEATURES}
    )
