"""Whether whole columns are in other units than fractions: judged over all rows of a file, or of a month."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from cleverbetter_dagster.dataset.quality.contradictions import OwnCapital
from cleverbetter_dagster.dataset.quality.special_values import floats
from cleverbetter_dagster.dataset.schema import ID, MAX_DRAWDOWN, ROI, WIN_RATE

Unit = Literal["per cent", "negative", "something else"]

LEAST_WRONG = 3
"""Fewer wrong rows are mistakes in single rows."""

MOST = 0.5
"""Share of wrong rows above which a column is in other units, where any row in these units looks wrong."""

ONE_IN_TEN = 0.1
"""The same where only large values look wrong: losses of more than everything, falls of more than the whole."""

_IN_TABLE: dict[Unit, str] = {
    "per cent": "is in per cent in most rows of its month, so none of them is loaded: divide it by 100 upstream, "
    "or in a view that is read instead",
    "negative": "is negative in most rows of its month, so none of them is loaded: write the size of the fall "
    "upstream, or in a view that is read instead",
    "something else": "contradicts initial_capital and final_capital in most rows of its month, so none of them is "
    "loaded: it is final / initial - 1; correct it upstream, or in a view that is read instead",
}


@dataclass(frozen=True)
class Doubt:
    """A column that is not in canonical units.

    Attributes:
        unit: what it is in instead.
        wrong: rows whose value is impossible in canonical units.
        judged: rows whose value could have been.
        basis: what makes these rows wrong, for messages.
        example: one of them, for messages.
    """

    column: str
    unit: Unit
    wrong: int
    judged: int
    basis: str
    example: str

    @property
    def in_table(self) -> str:
        """The reason for a row of a table; without numbers, so that it stays the same when rows are added."""
        return _IN_TABLE[self.unit]


@dataclass(frozen=True)
class _Sign:
    """Something that rows show when a column is in another unit, and the share of rows that proves it."""

    column: str
    unit: Unit
    basis: str
    judged: np.ndarray
    wrong: np.ndarray
    share: float


@dataclass
class _Count:
    unit: Unit
    share: float
    wrong: int = 0
    judged: int = 0
    example: str = ""


@dataclass
class UnitEvidence:
    """Counts what rows say of the units of their columns. Rows may come in batches.

    >>> evidence = UnitEvidence()
    >>> evidence.add(pa.table({"id": ["a", "b", "c"], "win_rate": [55.0, 40.0, 0.0]}))
    >>> evidence.doubts()  # two rows are too few
    []
    """

    _counts: dict[tuple[str, str], _Count] = field(default_factory=dict)
    _losses: int = 0
    _falls_below_losses: int = 0
    largest_win_rate: float = 0.0

    def add(self, rows: pa.Table) -> None:
        """Count further rows: canonical, typed, with their values as they are."""
        capital = OwnCapital(rows)
        for sign in _signs(rows, capital):
            count = self._counts.setdefault((sign.column, sign.basis), _Count(sign.unit, sign.share))
            wrong = sign.judged & sign.wrong
            count.judged += int(sign.judged.sum())
            count.wrong += int(wrong.sum())
            if wrong.any() and not count.example:
                count.example = _example(rows, sign.column, int(np.flatnonzero(wrong)[0]))
        loss = _loss(capital)
        # The largest fall from a peak is at least what was lost from the start.
        below = floats(rows, MAX_DRAWDOWN) / 100.0 < loss / 2.0
        self._losses += int((loss > 0).sum())
        self._falls_below_losses += int(((loss > 0) & below).sum())
        if rows.num_rows:
            self.largest_win_rate = float(np.fmax.reduce(floats(rows, WIN_RATE), initial=self.largest_win_rate))

    def doubts(self) -> list[Doubt]:
        """The columns that are not in canonical units."""
        return [
            Doubt(column, count.unit, count.wrong, count.judged, basis, count.example)
            for (column, basis), count in self._counts.items()
            if count.wrong >= LEAST_WRONG and count.wrong > count.share * count.judged
        ]

    def known_fractions(self) -> list[str]:
        """The columns that are fractions beyond doubt.

        Per cent would have shown in their values; or, read as per cent, most drawdowns were below what was lost.
        """
        doubted = {doubt.column for doubt in self.doubts()}
        known = (
            column
            for (column, _), count in self._counts.items()
            if count.share == MOST and count.judged >= LEAST_WRONG and column in (ROI, WIN_RATE)
        )
        falls = [MAX_DRAWDOWN] if self._falls_below_losses > MOST * self._losses else []
        return [column for column in dict.fromkeys([*known, *falls]) if column not in doubted]


def _signs(rows: pa.Table, capital: OwnCapital) -> Iterator[_Sign]:
    rate, fall = floats(rows, WIN_RATE), floats(rows, MAX_DRAWDOWN)
    known, lonely = np.isfinite(capital.implied) & np.isfinite(capital.roi), np.isnan(capital.implied)
    tells = known & capital.tells_the_unit
    yield _Sign(ROI, "per cent", "contradict their own capital by the factor 100", tells, capital.says_percent, MOST)
    other = capital.contradicts & ~capital.says_percent
    yield _Sign(ROI, "something else", "contradict their own capital", tells, other, MOST)
    below = (capital.roi < -1) & (capital.roi >= -100)
    yield _Sign(
        ROI, "per cent", "lost more than everything", lonely & np.isfinite(capital.roi), below & lonely, ONE_IN_TEN
    )
    yield _Sign(WIN_RATE, "per cent", "are above 1", np.isfinite(rate) & (rate != 0), _percent(rate), MOST)
    falls = np.isfinite(fall) & (fall != 0) & ~capital.confirms_ruin
    yield _Sign(MAX_DRAWDOWN, "per cent", "are larger than 1", falls, _percent(np.abs(fall)), ONE_IN_TEN)
    yield _Sign(MAX_DRAWDOWN, "negative", "are negative", falls, fall < 0, MOST)


def _loss(capital: OwnCapital) -> np.ndarray:
    """What was lost as a fraction, 0 in a window that gained; if no capital says it, the return may be in per cent."""
    return np.fmax(-np.where(np.isfinite(capital.implied), capital.implied, capital.roi / 100.0), 0.0)


def _percent(values: np.ndarray) -> np.ndarray:
    return (values > 1) & (values <= 100)


def _example(rows: pa.Table, column: str, position: int) -> str:
    row, value = rows.slice(position, 1), floats(rows, column)[position]
    text = f"{value:g} in row {row[ID][0].as_py()}"
    capital = OwnCapital(row)
    if column == ROI and np.isfinite(capital.implied[0]):
        text += f", where {capital.initial[0]:g} became {capital.final[0]:g}, which is {capital.implied[0]:.4g}"
    return text
