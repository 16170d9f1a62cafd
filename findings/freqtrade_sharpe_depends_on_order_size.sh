#!/bin/bash
# freqtrade's Sharpe ratio doubles if the same bets are placed in two halves, and is -100 for a strategy that always won.
#
# One would guess: the Sharpe ratio of a backtest is the mean over the deviation of daily returns (times the root of 365),
# so two strategies with the same profit on every day have the same ratio, and one that won the same every day has a
# very large one, or none. freqtrade prints it as "Sharpe" beside the profit per day.
# What happens: the numerator is the profit per *day*, the denominator the deviation of profits per *trade*. Each trade
# split in two equal halves leaves every day's profit as it is, and doubles the ratio. With equal trades there is no
# deviation, and the result is -100 (or 1e17 where rounding leaves one): the same for a strategy that wins every trade and
# for one that loses every trade. Their profit factors are the same too: 0, because nothing was lost, and because nothing
# was won. Rows for a model must not take these as measurements, nor compare this ratio with that of another tool.
#
# Tried with freqtrade 2026.9 from PyPI. Source: calculate_sharpe in freqtrade/data/metrics.py and profit_factor in
# freqtrade/optimize/optimize_reports/optimize_reports.py; https://www.freqtrade.io/en/stable/backtesting/
# Exit 0: as described; exit 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet freqtrade==2026.9
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pandas as pd
from freqtrade.optimize.optimize_reports.optimize_reports import generate_pair_metrics

START, DAYS, CAPITAL = datetime(2024, 1, 1, tzinfo=UTC), 10, 1024.0
PROFITS = [20.0, -10.0] * 5


def trades(profits: list[float], halves: int = 1) -> pd.DataFrame:
    """Closed trades, one a day, each split into equal parts."""
    rows = [
        {
            "pair": "A/B",
            "profit_abs": profit / halves,
            "profit_ratio": profit / 100,
            "open_date": START + timedelta(days=day),
            "close_date": START + timedelta(days=day, hours=6),
            "trade_duration": 360,
        }
        for day, profit in enumerate(profits)
        for _ in range(halves)
    ]
    return pd.DataFrame(rows)


def reported(frame: pd.DataFrame) -> dict:
    return generate_pair_metrics(["A/B"], "B", CAPITAL, frame, START, START + timedelta(days=DAYS))[-1]


whole, split = reported(trades(PROFITS)), reported(trades(PROFITS, halves=2))
winner, loser = reported(trades([16.0] * 10)), reported(trades([-16.0] * 10))
daily = pd.Series(PROFITS) / CAPITAL
print("freqtrade", version("freqtrade"))
print("daily returns, mean / deviation * sqrt(365):", round(daily.mean() / daily.std(ddof=0) * 365**0.5, 4))
print("one trade a day:", round(whole["sharpe"], 4), "in two halves:", round(split["sharpe"], 4))
for name, line in (("won every trade", winner), ("lost every trade", loser)):
    print(f"{name}: profit {line['profit_total']:+.2f}, Sharpe {line['sharpe']}, profit factor {line['profit_factor']}")
doubled = abs(split["sharpe"] / whole["sharpe"] - 2) < 1e-9 and split["profit_total"] == whole["profit_total"]
alike = all((line["sharpe"], line["profit_factor"]) == (-100.0, 0.0) for line in (winner, loser))
sys.exit(0 if doubled and alike else 1)
PYTHON
