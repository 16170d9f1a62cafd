"""Which examples a model has learned from, told by content: so that what is new can be found later."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, LABEL_TIME, NEXT_ROI
from cleverbetter_dagster.dataset.schema import END_DATE, METRICS, START_DATE, TEXTS, market_columns

OWN_COLUMNS = (*TEXTS, START_DATE, END_DATE, *METRICS, DECISION_TIME, LABEL_TIME, NEXT_ROI, LABEL)
"""With the market's features: what an example is by itself. What it takes from other rows (history, population)
is left out, or one late row would make thousands look new."""


@dataclass(frozen=True, eq=False)
class LearnedRows:
    """Fingerprints of examples: a row corrected upstream, or labelled otherwise, has another one.

    Attributes:
        fingerprints: uint64[n], ascending.
    """

    fingerprints: np.ndarray

    @classmethod
    def of(cls, examples: Iterable[Examples]) -> Self:
        """The fingerprints of all the examples together."""
        return cls(np.sort(np.concatenate([_fingerprints(part) for part in examples])))

    def __len__(self) -> int:
        return len(self.fingerprints)

    def among(self, examples: Examples) -> np.ndarray:
        """True for each of the examples that was learned from as it stands there, bool[n]."""
        return np.isin(_fingerprints(examples), self.fingerprints)

    def joined(self, new: Examples) -> Self:
        """These and `new`."""
        return type(self)(np.sort(np.concatenate([self.fingerprints, _fingerprints(new)])))


def _fingerprints(examples: Examples) -> np.ndarray:
    columns = [*OWN_COLUMNS, *market_columns(examples.frame.columns)]
    return pd.util.hash_pandas_object(examples.frame[columns], index=False).to_numpy(dtype=np.uint64)
