"""The composite score of a backtest, as the upstream service computes it."""

import pandas as pd


def composite_score(metrics: pd.DataFrame) -> pd.Series:
    """The upstream service's score of backtests, 0..1; it agrees with real rows to about 0.01.

    Half of it is a quality score: Sharpe ratio (30%, scaled from -2..3), return on capital (20%, -0.5..1),
    profit factor (20%, 0..3), drawdown (15%, 0.5..0) and win rate (15%, 0..1), each clipped to 0..1. The other half is
    the return again on the same scale; upstream takes the mean of two more estimates of the return there, by Monte
    Carlo and walk-forward.

    Args:
        metrics: one line per row, with the columns `total_return`, `sharpe_ratio`, `profit_factor`, `max_drawdown` and
            `win_rate`. NaN in any of them gives NaN.
    """
    gain = _scaled(metrics["total_return"], -0.5, 1.0)
    quality = (
        0.30 * _scaled(metrics["sharpe_ratio"], -2.0, 3.0)
        + 0.20 * gain
        + 0.20 * _scaled(metrics["profit_factor"], 0.0, 3.0)
        + 0.15 * (1.0 - _scaled(metrics["max_drawdown"], 0.0, 0.5))
        + 0.15 * _scaled(metrics["win_rate"], 0.0, 1.0)
    )
    return 0.5 * quality + 0.5 * gain


def _scaled(values: pd.Series, low: float, high: float) -> pd.Series:
    return ((values - low) / (high - low)).clip(0.0, 1.0)
