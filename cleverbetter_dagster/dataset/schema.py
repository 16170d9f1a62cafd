"""The canonical rows: names, aliases, types, bounds and sentinels of every column. No I/O.

One row is one backtest of one strategy over `[start_date, end_date]`, run on `run_date`. All packages use these column
names; the store translates the names of a table or file when it reads it.
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
WINNING_BETS = "winning_bets"
LOSING_BETS = "losing_bets"
TOTAL_STAKE = "total_stake"

MARKET_PREFIX = "ml_"
"""A market feature `avg_odds` of the features table is the column `ml_avg_odds` of the rows."""

EMBEDDED_FEATURES = "ml_features"
"""Name of the JSON column of the results table that may hold market features too. A column, not the features table."""

JSON_FEATURES = ("features", EMBEDDED_FEATURES)
"""Columns that may hold market features as JSON objects, best first."""

CATEGORY_PREFIX = "category_"
"""A market feature `country` that a setting calls a category is the column `category_country` of the rows, a text."""

TEXTS = (ID, STRATEGY, METHOD)
DATES = (RUN_DATE, START_DATE, END_DATE)
METRICS = (SHARPE_RATIO, ROI, MAX_DRAWDOWN, WIN_RATE, PROFIT_FACTOR, TOTAL_BETS)
"""The six metrics that the training guide takes from a row, in its order."""

REQUIRED = (*TEXTS, *DATES, *METRICS, COMPOSITE_SCORE)
"""Columns of every canonical frame. After validation only these have missing values: `UNDEFINED_AT_TIMES`, and
`win_rate` in rows without a bet (a method may be "")."""

UNDEFINED_AT_TIMES = (SHARPE_RATIO, PROFIT_FACTOR, COMPOSITE_SCORE)
"""Ratios without a value in some right rows, because no bet lost or no return differed, and the score made of them."""

UNDEFINED_WITHOUT_BETS = (WIN_RATE, ROI, MAX_DRAWDOWN)
"""Columns that a row without a bet may leave out. Its return and drawdown are 0, its win rate stays missing."""

OPTIONAL = (INITIAL_CAPITAL, FINAL_CAPITAL, CREATED_AT)
"""Columns that a source may lack. They, and market features, may have missing values."""

COMPARED = (WINNING_BETS, LOSING_BETS, TOTAL_STAKE)
"""Columns that are only compared with others where a file has them. No canonical frame has them."""

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {ROI: ("roi", "total_return"), TOTAL_STAKE: ("total_stake", "total_staked")}
)
"""Names that a source may use for a column, best first. Any other column has only its own name."""

DEFAULT_METHOD = ""
"""The method of a row without one. All such rows of a strategy are one sequence."""

EARLIEST = pd.Timestamp("1990-01-01", tz="UTC")
"""No exchange existed before. An earlier date is a parsing error, such as 1970-01-01 or 0001-01-01."""

TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Bounds:
    """Closed interval for a finite value, and what the number means (for messages)."""

    low: float
    high: float
    meaning: str

    def __str__(self) -> str:
        return f"at least {self.low:g}" if self.high == np.inf else f"within {self.low:g}..{self.high:g}"


BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {
        WIN_RATE: Bounds(0.0, 1.0, "the share of bets won, a fraction"),
        MAX_DRAWDOWN: Bounds(0.0, 1.0, "the largest loss from a peak, a fraction of that peak, without a minus sign"),
        ROI: Bounds(-1.0, np.inf, "profit over initial capital, a fraction; -1 is the loss of everything"),
        TOTAL_BETS: Bounds(0.0, np.inf, "a count of bets"),
        PROFIT_FACTOR: Bounds(0.0, np.inf, "gross gains over gross losses"),
    }
)


SENTINELS: Mapping[str, float] = MappingProxyType({PROFIT_FACTOR: 999.0, SHARPE_RATIO: 999.0})
"""Magnitude from which a metric is no measurement: upstream writes such numbers where a ratio has no denominator,
because no bet lost or no return differed."""

MARKET_SENTINELS = (-999.0, -9999.0, -99999.0, -999999.0)
"""Exact values that mean "not measured" in a market feature. Positive nines may be real, such as a volume of 999."""

NO_DENOMINATOR = -100.0
"""freqtrade writes exactly this number for a ratio without a denominator, as where no bet lost."""

RATIOS = (PROFIT_FACTOR, "sharpe", "sortino", "calmar")
"""Words in the names of ratios whose denominator depends on how the bets ended."""


def market_columns(columns: Iterable[str]) -> list[str]:
    """The market features among `columns`, sorted by name.

    >>> market_columns(["id", "ml_overround", "roi", "ml_avg_odds"])
    ['ml_avg_odds', 'ml_overround']
    """
    return sorted(column for column in columns if column.startswith(MARKET_PREFIX))


def category_columns(columns: Iterable[str]) -> list[str]:
    """The categories among `columns`, sorted by name."""
    return sorted(column for column in columns if column.startswith(CATEGORY_PREFIX))


def sentinel_mask(column: str, values: np.ndarray | pd.Series) -> np.ndarray:
    """True where a value of `column` is a sentinel and must not reach a model as a number. NaN is not one.

    A market feature whose name ends with that of a metric (`ml_mc_profit_factor`) follows the rule of the metric.

    >>> sentinel_mask("profit_factor", np.array([1.2, 999.0, np.nan])).tolist()
    [False, True, False]
    >>> sentinel_mask("ml_sortino_ratio", np.array([-100.0, 1.2])).tolist()
    [True, False]
    """
    numbers = np.asarray(values, dtype=float)
    if column.startswith(MARKET_PREFIX) and any(word in column for word in RATIOS):
        numbers = np.where(numbers == NO_DENOMINATOR, MARKET_SENTINELS[0], numbers)
    for metric, magnitude in SENTINELS.items():
        if column.endswith(metric):
            return np.abs(numbers) >= magnitude
    if column.startswith(MARKET_PREFIX):
        return np.isin(numbers, MARKET_SENTINELS)
    return np.zeros(numbers.shape, dtype=bool)


def column_type(column: str) -> pa.DataType:
    """Arrow type of a canonical column: text, UTC timestamp in microseconds, else float64."""
    if column in TEXTS or column.startswith(CATEGORY_PREFIX):
        return pa.string()
    if column in DATES or column == CREATED_AT:
        return TIMESTAMP
    return pa.float64()


def rows_frame(table: pa.Table) -> pd.DataFrame:
    """Canonical rows as pandas: texts as `object`, dates as `datetime64[us, UTC]`, numbers as `float64`.

    Args:
        table: canonical rows in Arrow; missing numbers become NaN, missing dates NaT.
    """
    schema = pa.schema([(column, column_type(column)) for column in table.column_names])
    return table.cast(schema).to_pandas(date_as_object=False)
