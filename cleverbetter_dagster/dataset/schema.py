"""The canonical rows: names, aliases, types, bounds and sentinels of every column. No I/O.

One row is one backtest of one strategy over `[start_date, end_date]`, run on `run_date`. Every room speaks of
these columns and no others; the store maps what a table or file calls them onto these names, at its door.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa

ID = "id"
STRATEGY = "strategy_id"
METHOD = "method"
RUN_DATE = "run_date"
START_DATE = "start_date"
END_DATE = "end_date"
SHARPE_RATIO = "sharpe_ratio"
ROI = "roi"
MAX_DRAWDOWN = "max_drawdown"
WIN_RATE = "win_rate"
PROFIT_FACTOR = "profit_factor"
TOTAL_BETS = "total_bets"
COMPOSITE_SCORE = "composite_score"
INITIAL_CAPITAL = "initial_capital"
FINAL_CAPITAL = "final_capital"
CREATED_AT = "created_at"

MARKET_PREFIX = "ml_"
"""A market feature `avg_odds` of the features table is the column `ml_avg_odds` of the rows."""

TEXTS = (ID, STRATEGY, METHOD)
DATES = (RUN_DATE, START_DATE, END_DATE)
METRICS = (SHARPE_RATIO, ROI, MAX_DRAWDOWN, WIN_RATE, PROFIT_FACTOR, TOTAL_BETS)
"""The six metrics the training guide takes from a row, in its order."""

REQUIRED = (*TEXTS, *DATES, *METRICS, COMPOSITE_SCORE)
"""Columns every canonical frame has; once validated, none holds a missing value (a method may be "")."""

OPTIONAL = (INITIAL_CAPITAL, FINAL_CAPITAL, CREATED_AT)
"""Columns a source may lack; missing values are allowed in them, and in market features."""

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType({ROI: ("roi", "total_return")})
"""Other names a source may use for a column, best first. A column not listed goes by its own name only."""

DEFAULT_METHOD = ""
"""The method of a row that names none: all such rows share one sequence per strategy."""

EARLIEST = pd.Timestamp("1990-01-01", tz="UTC")
"""No exchange existed before; an earlier date is a parsing accident such as 1970-01-01 or 0001-01-01."""

TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Bounds:
    """Closed interval a finite value must lie in, and what the number means (for messages)."""

    low: float
    high: float
    meaning: str

    def __str__(self) -> str:
        return f"at least {self.low:g}" if self.high == np.inf else f"within {self.low:g}..{self.high:g}"


BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {
        WIN_RATE: Bounds(0.0, 1.0, "the share of bets won, a fraction"),
        MAX_DRAWDOWN: Bounds(0.0, 1.0, "the largest loss from a peak, a fraction of that peak"),
        ROI: Bounds(-1.0, np.inf, "profit over initial capital, a fraction; -1 is the loss of everything"),
        TOTAL_BETS: Bounds(0.0, np.inf, "a count of bets"),
        PROFIT_FACTOR: Bounds(0.0, np.inf, "gross gains over gross losses"),
    }
)


@dataclass(frozen=True)
class Sentinel:
    """A number that stands for a fact instead of a measurement: any value with `abs(value) >= magnitude`."""

    magnitude: float
    meaning: str


SENTINELS: Mapping[str, Sentinel] = MappingProxyType(
    {
        PROFIT_FACTOR: Sentinel(999.0, "no losing bet, so the ratio has no denominator"),
        SHARPE_RATIO: Sentinel(999.0, "no variation between the returns, so the ratio has no denominator"),
    }
)

MARKET_SENTINELS = (-999.0, -9999.0, -99999.0, -999999.0)
"""Exact values that mean "not measured" in a market feature. Positive nines may be real (a volume of 999)."""


def market_columns(columns: Iterable[str]) -> list[str]:
    """The market features among `columns`, sorted by name.

    >>> market_columns(["id", "ml_overround", "roi", "ml_avg_odds"])
    ['ml_avg_odds', 'ml_overround']
    """
    return sorted(column for column in columns if column.startswith(MARKET_PREFIX))


def sentinel_mask(column: str, values: np.ndarray | pd.Series) -> np.ndarray:
    """True where a value of `column` is a sentinel and must not reach a model as a number. NaN is not one.

    A market feature that is itself a ratio (`ml_mc_profit_factor`, `ml_sharpe_ratio`) follows the rule of the
    metric its name ends with.

    >>> sentinel_mask("profit_factor", np.array([1.2, 999.0, np.nan])).tolist()
    [False, True, False]
    """
    numbers = np.asarray(values, dtype=float)
    for metric, sentinel in SENTINELS.items():
        if column.endswith(metric):
            return np.abs(numbers) >= sentinel.magnitude
    if column.startswith(MARKET_PREFIX):
        return np.isin(numbers, MARKET_SENTINELS)
    return np.zeros(numbers.shape, dtype=bool)


def column_type(column: str) -> pa.DataType:
    """Arrow type of a canonical column: text, UTC timestamp in microseconds, else float64."""
    if column in TEXTS:
        return pa.string()
    if column in DATES or column == CREATED_AT:
        return TIMESTAMP
    return pa.float64()


def rows_schema(market: Iterable[str] = (), optional: Iterable[str] = ()) -> pa.Schema:
    """Arrow schema of canonical rows: `REQUIRED`, then the `optional` and `market` columns given."""
    return pa.schema([(column, column_type(column)) for column in (*REQUIRED, *optional, *market)])


def rows_frame(table: pa.Table) -> pd.DataFrame:
    """Canonical rows as pandas: texts as `object`, dates as `datetime64[us, UTC]`, numbers as `float64`.

    Args:
        table: canonical rows in Arrow; missing numbers become NaN, missing dates NaT.
    """
    schema = pa.schema([(column, column_type(column)) for column in table.column_names])
    return table.cast(schema).to_pandas(date_as_object=False)


def empty_rows(market: Iterable[str] = ()) -> pd.DataFrame:
    """A canonical frame of no rows: what an empty month holds."""
    return rows_frame(rows_schema(market).empty_table())
