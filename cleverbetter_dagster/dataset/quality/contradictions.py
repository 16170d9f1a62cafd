"""Values that another value of the same row contradicts. No rule here looks at who won: mirrored returns are equal."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.special_values import floats
from cleverbetter_dagster.dataset.schema import (
    FINAL_CAPITAL,
    INITIAL_CAPITAL,
    LOSING_BETS,
    MAX_DRAWDOWN,
    ROI,
    TOTAL_BETS,
    TOTAL_STAKE,
    WIN_RATE,
    WINNING_BETS,
)

RETURN_TOLERANCE = 0.01
"""How far a return may be from the one that its capital gives, as a fraction of the initial capital, or of the return
where that is above 1. A return rounded to whole per cent is off by 0.005; as much is left for fees after the last bet.
"""

CAPITAL_ROUNDING = 0.005
"""A capital is rounded to cents, so it is off by half a cent at most."""

PERCENT_ROUNDING = 1e-4
"""A return in per cent has two decimals at least: as a fraction it is off by 0.00005 at most."""

WIN_RATE_TOLERANCE = 0.05
"""How far a win rate may be from winning over total bets: void bets count in some counts and not in others."""

Rule = tuple[str, np.ndarray, str]
"""A column, where its values break the rule, and the reason, which follows the column's name."""


class OwnCapital:
    """The returns of rows, and what their initial and final capital say of them.

    Args:
        table: canonical rows with typed columns; it may lack both capitals.
    """

    def __init__(self, table: pa.Table) -> None:
        self.roi, initial, final = (_finite(table, name) for name in (ROI, INITIAL_CAPITAL, FINAL_CAPITAL))
        self.initial, self.final = np.where(initial > 0, initial, np.nan), final
        with np.errstate(over="ignore"):  # infinite then, as it should be
            self.implied = self.final / self.initial - 1.0
        """The return that the two capitals give; NaN if they are missing, or nothing was there to begin with."""
        self._rounding = CAPITAL_ROUNDING * (2.0 + np.abs(self.implied)) / self.initial
        self._tolerance = RETURN_TOLERANCE * np.maximum(1.0, np.abs(self.implied)) + self._rounding

    @cached_property
    def contradicts(self) -> np.ndarray:
        """Where the return is another one than its capital gives, bool[n]."""
        return np.abs(self.roi - self.implied) > self._tolerance

    @cached_property
    def says_percent(self) -> np.ndarray:
        """Where the capital contradicts the return and gives its hundredth, bool[n]."""
        allowed = PERCENT_ROUNDING * np.maximum(1.0, np.abs(self.implied)) + self._rounding
        return self.contradicts & (np.abs(self.roi / 100.0 - self.implied) <= allowed)

    @cached_property
    def tells_the_unit(self) -> np.ndarray:
        """Where a return and its hundredth are too far apart for both to agree with the capital, bool[n]."""
        return self.contradicts | (np.abs(self.roi - self.roi / 100.0) > self._tolerance)

    @cached_property
    def confirms_ruin(self) -> np.ndarray:
        """Where more than everything was lost and both numbers say so, as with uncovered lay bets, bool[n]."""
        return (self.final < 0) & np.isfinite(self.implied) & ~self.contradicts


def contradictions(table: pa.Table, capital: OwnCapital) -> Iterator[Rule]:
    """The rules, each with the rows that break it.

    Args:
        table: canonical rows with typed columns.
        capital: of these rows.
    """
    bets = floats(table, TOTAL_BETS)
    yield (
        ROI,
        capital.says_percent,
        "contradicts initial_capital and final_capital, which give a hundredth of it: write a fraction, 0.05 for 5 %",
    )
    yield (
        ROI,
        capital.contradicts,
        "contradicts initial_capital and final_capital: it is final / initial - 1, so correct what is wrong of the "
        "three, or leave out the capitals if they are of something else",
    )
    yield TOTAL_BETS, (bets == 0) & (np.abs(capital.roi) > RETURN_TOLERANCE), "is 0, but the return is not"
    yield WIN_RATE, (bets == 0) & (floats(table, WIN_RATE) > 0), "is above 0, but total_bets is 0"
    yield MAX_DRAWDOWN, (bets == 0) & (floats(table, MAX_DRAWDOWN) > RETURN_TOLERANCE), "is above 0 without a bet"
    yield from _counts(table, bets)


def _finite(table: pa.Table, name: str) -> np.ndarray:
    values = floats(table, name)
    return np.where(np.isfinite(values), values, np.nan)


def _counts(table: pa.Table, bets: np.ndarray) -> Iterator[Rule]:
    """Rules on the columns that are read only to compare them, where a source has them."""
    won, lost, stake = (floats(table, name) for name in (WINNING_BETS, LOSING_BETS, TOTAL_STAKE))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = won / bets, won / (won + lost)
    rate = floats(table, WIN_RATE)
    off = np.fmin(*(np.abs(rate - share) for share in shares))
    yield TOTAL_BETS, np.fmax(won, 0) + np.fmax(lost, 0) > bets, "is less than the winning and losing bets together"
    yield WIN_RATE, off > WIN_RATE_TOLERANCE, "contradicts winning_bets: it is their share of the bets"
    yield TOTAL_BETS, ((bets == 0) & (stake > 0)) | ((bets > 0) & (stake == 0)), "contradicts total_stake"
