"""Returns of strategies by month, as far as they were known at a moment: what a covariance is estimated from."""

from typing import Self

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.dataset.labels import DECISION_TIME
from cleverbetter_dagster.dataset.panel import SEQUENCE
from cleverbetter_dagster.dataset.schema import ROI


class PastReturns:
    """The returns of all rows of a panel, by the calendar month (UTC) in which they became known.

    Windows of strategies need not align: two returns are paired if they became known in the same month, and several of
    one strategy in a month add up.
    """

    def __init__(self, sequences: pd.MultiIndex, code: IntArray, known_at: pd.DatetimeIndex, roi: FloatArray) -> None:
        self._sequences, self._code, self._roi = sequences, code, roi
        self._known_at = known_at.tz_localize(None).to_numpy().astype("datetime64[us]")
        self._month = months_of(known_at).astype(np.int64)

    @classmethod
    def of(cls, panel: pd.DataFrame) -> Self:
        """Those of a panel (dataset.panel)."""
        sequences = pd.MultiIndex.from_frame(panel[SEQUENCE].drop_duplicates())
        code = sequences.get_indexer(pd.MultiIndex.from_frame(panel[SEQUENCE]))
        return cls(sequences, code, pd.DatetimeIndex(panel[DECISION_TIME]), panel[ROI].to_numpy(dtype=np.float64))

    def codes(self, rows: pd.DataFrame) -> IntArray:
        """Number of each row's strategy and method, int[n]; -1 if the panel has none of it."""
        return self._sequences.get_indexer(pd.MultiIndex.from_frame(rows[SEQUENCE]))

    def known(self, instant: np.datetime64, codes: IntArray) -> FloatArray:
        """Returns known at an instant (UTC), shape (months, len(codes)), months ascending; NaN where there is none."""
        place = np.full(len(self._sequences), -1)
        place[codes[codes >= 0]] = np.flatnonzero(codes >= 0)
        column = place[self._code]
        rows = (column >= 0) & (self._known_at <= instant)
        months, month = np.unique(self._month[rows], return_inverse=True)
        total, count = np.zeros((2, len(months), len(codes)))
        np.add.at(total, (month, column[rows]), self._roi[rows])
        np.add.at(count, (month, column[rows]), 1)
        return np.where(count > 0, total, np.nan)
