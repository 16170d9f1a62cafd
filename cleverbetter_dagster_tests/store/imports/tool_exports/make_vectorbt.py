"""Exports of vectorbt: the statistics of a portfolio with two columns.

Made with: pip install vectorbt==1.2.0 pandas==3.1.1; python make_vectorbt.py
"""

from pathlib import Path

FILES = Path(__file__).parent / "files"
CLOSES = {"favourites": [100, 110, 121, 99, 110, 110], "outsiders": [100, 80, 88, 88, 96, 96]}


def main() -> None:
    import pandas as pd
    import vectorbt

    days = pd.date_range("2023-01-02", periods=6, freq="D")
    close = pd.DataFrame(CLOSES, index=days, dtype=float).rename_axis(columns="market")
    first, last = close.index == days[0], close.index == days[4]
    enter = pd.DataFrame(dict.fromkeys(close, first), index=days).rename_axis(columns="market")
    leave = pd.DataFrame(dict.fromkeys(close, last), index=days).rename_axis(columns="market")
    portfolio = vectorbt.Portfolio.from_signals(close, enter, leave, init_cash=1000, freq="D")
    statistics = portfolio.stats(agg_func=None)
    statistics.to_csv(FILES / "vectorbt_lines.csv")
    statistics.T.to_csv(FILES / "vectorbt_side_by_side.csv")
    statistics.to_json(FILES / "vectorbt.json")
    portfolio.stats(column="favourites").to_csv(FILES / "vectorbt_one.csv")
    portfolio.stats().to_csv(FILES / "vectorbt_mean.csv")  # averages over the two columns, and warns


if __name__ == "__main__":
    main()
