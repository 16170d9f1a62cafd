"""Metrics that have no value in a right row, in the one form that all code above sees.

Exporters write such a metric as infinity, NaN, NULL, 0, 999 or -100. None of these is a reason to refuse a row, since
whether a ratio has a denominator depends on how the bets ended. The missing kinds in canonical rows:

- no bet: `total_bets` is 0. Return and drawdown are 0 then, and the ratios are missing.
- no losing bet: `profit_factor` is `NO_LOSING_BET`.
- no variation: `sharpe_ratio` is `NO_VARIATION` with the sign of the returns, which are all equal.
- undefined or not measured: any other missing ratio.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from cleverbetter_dagster.dataset.schema import (
    COMPOSITE_SCORE,
    FINAL_CAPITAL,
    INITIAL_CAPITAL,
    MARKET_SENTINELS,
    MAX_DRAWDOWN,
    METRICS,
    NO_DENOMINATOR,
    PROFIT_FACTOR,
    ROI,
    SENTINELS,
    SHARPE_RATIO,
    TOTAL_BETS,
    WIN_RATE,
)

NO_LOSING_BET = SENTINELS[PROFIT_FACTOR]
NO_VARIATION = SENTINELS[SHARPE_RATIO]


def canonical_values(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The six metrics and the composite score, with every special value in its canonical form.

    Args:
        rows: these seven columns as float64[n] each, NaN where missing; not mutated.

    >>> rows = {name: np.array([0.5]) for name in (*METRICS, COMPOSITE_SCORE)}
    >>> canonical_values(rows | {PROFIT_FACTOR: np.array([np.inf])})[PROFIT_FACTOR].tolist()
    [999.0]
    """
    no_bet = rows[TOTAL_BETS] == 0
    values = {name: rows[name] for name in (*METRICS, COMPOSITE_SCORE)}
    for name in (ROI, MAX_DRAWDOWN):
        values[name] = np.where(no_bet & np.isnan(rows[name]), 0.0, rows[name])
    values[WIN_RATE] = np.where(no_bet, np.nan, rows[WIN_RATE])
    values[PROFIT_FACTOR] = np.where(no_bet, np.nan, _profit_factor(rows))
    values[SHARPE_RATIO] = np.where(no_bet, np.nan, _sharpe_ratio(rows[SHARPE_RATIO]))
    values[COMPOSITE_SCORE] = without_infinity(COMPOSITE_SCORE, rows[COMPOSITE_SCORE])
    return values


def with_canonical_values(table: pa.Table) -> pa.Table:
    """Canonical rows with every special value in its canonical form; missing is null, in the capitals as well."""
    values = canonical_values({name: floats(table, name) for name in (*METRICS, COMPOSITE_SCORE)})
    values |= {name: floats(table, name) for name in (INITIAL_CAPITAL, FINAL_CAPITAL) if name in table.column_names}
    named = {name: pa.array(column, pa.float64(), from_pandas=True) for name, column in values.items()}
    return pa.table({name: named.get(name, table[name]) for name in table.column_names})


def floats(table: pa.Table, name: str) -> np.ndarray:
    """A column of numbers as float64[n], NaN where it is missing or the table has no such column."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return table[name].cast(pa.float64()).to_numpy()


def without_infinity(name: str, values: np.ndarray) -> np.ndarray:
    """A ratio or the composite score with its infinite values in their canonical form, float64[n].

    >>> without_infinity(SHARPE_RATIO, np.array([1.5, -np.inf])).tolist()
    [1.5, -999.0]
    """
    forms = {PROFIT_FACTOR: NO_LOSING_BET, SHARPE_RATIO: np.copysign(NO_VARIATION, values)}
    return np.where(np.isinf(values), forms.get(name, np.nan), values)


def _profit_factor(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    value, roi = without_infinity(PROFIT_FACTOR, rows[PROFIT_FACTOR]), rows[ROI]
    # A window that gained has a profit factor above 1: a 0 there stands for the missing denominator.
    zero_for_none = (value == 0) & (roi > 0)
    every_bet_won = np.isnan(value) & (rows[WIN_RATE] == 1)
    never_lost = (value >= NO_LOSING_BET) | (value == NO_DENOMINATOR) | zero_for_none | every_bet_won
    return np.where(never_lost, NO_LOSING_BET, np.where(np.isin(value, MARKET_SENTINELS), np.nan, value))


def _sharpe_ratio(value: np.ndarray) -> np.ndarray:
    return np.where(value == NO_DENOMINATOR, np.nan, without_infinity(SHARPE_RATIO, value))
