"""An export of freqtrade: three strategies backtested over five days of prices that swing between 90 and 110.

Made with: pip install freqtrade==2026.9 time-machine==3.6.0; python make_freqtrade.py
No exchange is asked: its one market is given below, and prices are in a file, as after `freqtrade download-data`.
"""

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

FILES = Path(__file__).parent / "files"
STRATEGY = """
from freqtrade.strategy import IStrategy

class {name}(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1h"
    minimal_roi = {{"0": 0.05}}
    stoploss = -0.05

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[{enter}, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
"""
STRATEGIES = {
    "BuyLow": "dataframe['close'] < 91",  # never loses
    "BuyHigh": "dataframe['close'] > 109",  # always does
    "Never": "dataframe['close'] < 0",
}
MARKET = {
    "id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "active": True, "type": "spot", "spot": True,
    "margin": False, "swap": False, "future": False, "contract": False, "contractSize": None, "linear": None,
    "settle": None, "expiry": None, "maker": 0.001, "taker": 0.001, "info": {},
    "precision": {"amount": 1e-5, "price": 0.01, "base": 1e-8, "quote": 1e-8},
    "limits": {
        "amount": {"min": 1e-5, "max": 9000}, "price": {"min": 0.01, "max": 1e6}, "cost": {"min": 5, "max": 9e6},
        "leverage": {"min": None, "max": None},
    },
}  # fmt: skip
CONFIG = {
    "max_open_trades": 1, "stake_currency": "USDT", "stake_amount": 100, "dry_run": True, "dry_run_wallet": 1000,
    "trading_mode": "spot", "timeframe": "1h", "dataformat_ohlcv": "feather",
    "entry_pricing": {"price_side": "same"}, "exit_pricing": {"price_side": "same"},
    "exchange": {"name": "binance", "key": "", "secret": "", "pair_whitelist": ["BTC/USDT"], "pair_blacklist": []},
    "pairlists": [{"method": "StaticPairList"}],
}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _write_inputs(home)
        _backtest(home)
        (written,) = (home / "backtest_results").glob("*.zip")
        shutil.copy(written, FILES / "freqtrade.zip")


def _write_inputs(home: Path) -> None:
    import pandas as pd

    for name in ("data", "strategies", "backtest_results"):
        (home / name).mkdir()
    hours = pd.date_range("2023-01-01", periods=24 * 6, freq="h", tz="UTC")
    close = pd.Series([100 + 10 * math.sin(math.pi * hour / 12) for hour in range(len(hours))])
    opened = close.shift(fill_value=100.0)
    prices = {"open": opened, "high": close.combine(opened, max), "low": close.combine(opened, min), "close": close}
    pd.DataFrame({"date": hours, **prices, "volume": 1000.0}).to_feather(home / "data" / "BTC_USDT-1h.feather")
    for name, enter in STRATEGIES.items():
        (home / "strategies" / f"{name}.py").write_text(STRATEGY.format(name=name, enter=enter))
    (home / "config.json").write_text(json.dumps(CONFIG))


def _backtest(home: Path) -> None:
    import time_machine
    from freqtrade.exchange import Exchange
    from freqtrade.exchange.binance import Binance
    from freqtrade.main import main as freqtrade

    def markets_as_given(self: Exchange, *_: object, **__: object) -> None:
        self._markets = self._api.markets = self._api_async.markets = {"BTC/USDT": MARKET}
        self._api.markets_by_id, self._last_markets_refresh = {}, 1

    Exchange.reload_markets = markets_as_given
    Exchange.validate_timeframes = lambda *_: None
    Binance.additional_exchange_init = lambda *_: None
    places = ["--config", str(home / "config.json"), "--userdir", str(home), "--datadir", str(home / "data")]
    try:
        with time_machine.travel("2024-01-05 12:00:00+00:00", tick=False):  # the run's date in the export
            freqtrade(["backtesting", *places, "--strategy-list", *STRATEGIES, "--timerange", "20230101-20230106"])
    except SystemExit as ended:
        if ended.code:
            sys.exit(ended.code)


if __name__ == "__main__":
    main()
