"""Which examples a model has learned from, known by their content, so that new ones can be recognised later."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, LABEL_TIME, NEXT_ROI
from cleverbetter_dagster.dataset.quality.categories import category_column
from cleverbetter_dagster.dataset.schema import END_DATE, METRICS, START_DATE, TEXTS, category_columns, market_columns

OWN_COLUMNS = (*TEXTS, START_DATE, END_DATE, *METRICS, DECISION_TIME, LABEL_TIME, NEXT_ROI, LABEL)
"""Content of an example, together with its market features. Features that come from other rows (history, population)
are left out, or one late row would make thousands look new."""


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """One hash per example. A row that upstream corrected, or whose label changed, has another one.

    Attributes:
        fingerprints: uint64[n], ascending.
    """

    fingerprints: np.ndarray

    @classmethod
    def of(cls, examples: Examples) -> Self:
        """The fingerprints of `examples`."""
        return cls(np.sort(_hashes(examples)))

    def __len__(self) -> int:
        return len(self.fingerprints)

    def contains(self, examples: Examples) -> np.ndarray:
        """True for each of the examples that is among these with the same content, bool[n]."""
        return np.isin(_hashes(examples), self.fingerprints)

    def with_new(self, examples: Examples) -> Self:
        """These and the fingerprints of `examples`."""
        return type(self)(np.sort(np.concatenate([self.fingerprints, _hashes(examples)])))


def _hashes(examples: Examples) -> np.ndarray:
    names = examples.frame.columns
    own = [name for name in market_columns(names) if category_column(name) not in names]
    columns = [*OWN_COLUMNS, *own, *category_columns(names)]
    return pd.util.hash_pandas_object(examples.frame[columns], index=False).to_numpy(dtype=np.uint64)
