"""How far new values have moved from those a model learned from: effect sizes, which do not grow with the rows."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.betting.segments import FloatArray
from cleverbetter_dagster.errors import InvalidInput

BINS = 10
LARGE_PSI = 0.25
"""From here on a population has shifted; below 0.1 it has not (Siddiqi, Credit Risk Scorecards, 2006)."""

LEAST_SHARE = 1e-3
"""An empty bin counts as holding this share, or a single row in it would be infinitely surprising."""


class Drift(BaseModel):
    """How one column has moved.

    Attributes:
        psi: population stability index over bins of equal mass of the reference, missing values a bin of their own.
        expected_psi: what chance alone gives where nothing has moved: (bins - 1) (1/n + 1/m).
        mean_shift: difference of the means in reference standard deviations; None where the reference does not vary.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    psi: float
    expected_psi: float
    mean_shift: float | None

    @property
    def excess(self) -> float:
        """The index less what chance alone gives, >= 0: comparable between few rows and many."""
        return max(self.psi - self.expected_psi, 0.0)


def population_stability(reference: ArrayLike, new: ArrayLike) -> tuple[float, float]:
    """Population stability index of `new`, shape (m,), against `reference`, shape (n,), and what chance alone gives.

    NaN is a value of its own. Equal values share a bin, so there may be fewer than ten. The expectation is that of
    Yurdakul (2018), "Statistical Properties of Population Stability Index": (bins - 1) (1/n + 1/m).

    >>> population_stability([0, 0, 1, 1], [0, 1, 1, 1])[0].__round__(4)  # 0.25 ln 0.5 twice over, as by hand
    0.2747
    """
    old, now = (np.asarray(values, dtype=np.float64) for values in (reference, new))
    if not len(old) or not len(now):
        raise InvalidInput(f"{len(old)} reference rows and {len(now)} new rows: give at least one of each.")
    shares = [_shares(values, _edges(old)) for values in (old, now)]
    used = (shares[0] > 0) | (shares[1] > 0)
    before, after = (np.maximum(share[used], LEAST_SHARE) for share in shares)
    expected = (int(used.sum()) - 1) * (1.0 / len(old) + 1.0 / len(now))
    return float(np.sum((after - before) * np.log(after / before))), expected


def drift_of(column: str, reference: ArrayLike, new: ArrayLike) -> Drift:
    """Both effect sizes of one column; means leave NaN out."""
    old, now = (np.asarray(values, dtype=np.float64) for values in (reference, new))
    psi, expected = population_stability(old, now)
    known, known_now = old[~np.isnan(old)], now[~np.isnan(now)]
    spread = known.std() if len(known) else 0.0
    shift = float((known_now.mean() - known.mean()) / spread) if spread > 0 and len(known_now) else None
    return Drift(column=column, psi=psi, expected_psi=expected, mean_shift=shift)


def drift_of_columns(reference: pd.DataFrame, new: pd.DataFrame) -> list[Drift]:
    """Drift of every column of `reference`, the furthest moved first; a column `new` lacks is missing throughout."""
    aligned = new.reindex(columns=reference.columns)
    found = [drift_of(str(name), reference[name], aligned[name]) for name in reference.columns]
    return sorted(found, key=lambda one: (-one.excess, one.column))


def _edges(reference: FloatArray) -> FloatArray:
    known = reference[~np.isnan(reference)]
    if not len(known):
        return np.empty(0)
    return np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="higher"))


def _shares(values: FloatArray, edges: FloatArray) -> FloatArray:
    """Share of the values in every bin, the last one being that of NaN; an edge belongs to the bin above it."""
    missing = np.isnan(values)
    index = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="right"))
    return np.bincount(index, minlength=len(edges) + 2) / len(values)
