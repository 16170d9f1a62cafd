"""Exports of backtesting.py, as people save what `Backtest.run` returns.

Made with: pip install backtesting==0.6.6 pandas==3.1.1 numpy==2.4.6; python make_backtesting.py
"""

from pathlib import Path

FILES = Path(__file__).parent / "files"
CLOSES = {"2023-01-02": [100, 100, 110, 99, 120, 120], "2023-02-01": [100, 100, 80, 88, 72, 90]}
"""First day -> closing prices, and the opening price of the next day."""


def main() -> None:
    import pandas as pd
    from backtesting import Backtest, Strategy

    class Hold(Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            if not self.position:
                self.buy()

    class Never(Hold):
        def next(self) -> None:
            pass

    runs = []
    for start, closes in CLOSES.items():
        days = pd.date_range(start, periods=len(closes), freq="D")
        close = pd.Series(closes, index=days, dtype=float)
        opened = close.shift(fill_value=100.0)
        prices = {"Open": opened, "High": close.combine(opened, max), "Low": close.combine(opened, min), "Close": close}
        for strategy in (Hold, Never):
            runs.append(Backtest(pd.DataFrame(prices), strategy, cash=1000, finalize_trades=True).run())
    runs[0].to_csv(FILES / "backtesting_one.csv")  # with equity curve and trades in its last cells
    numbers = [run.drop(["_equity_curve", "_trades"]) for run in runs]
    pd.DataFrame(numbers).to_csv(FILES / "backtesting_lines.csv", index=False)
    pd.concat(numbers, axis=1).to_csv(FILES / "backtesting_side_by_side.csv")
    numbers[0].drop("_strategy").to_json(FILES / "backtesting_one.json")


if __name__ == "__main__":
    main()
