"""How far stated probabilities are from observed frequencies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cleverbetter_dagster.betting.arrays import FloatArray

DEFAULT_BINS = 10


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Rows in bins of equal mass by probability, lowest first. Fields have shape (bins,).

    Attributes:
        observed: share of the bin's rows whose label is 1.
    """

    mean_probability: FloatArray
    observed: FloatArray
    count: NDArray[np.int64]

    @property
    def calibration_error(self) -> float:
        """Mean absolute gap between observed and stated, weighted by the rows in each bin, 0..1."""
        return float(np.average(np.abs(self.observed - self.mean_probability), weights=self.count))


def equal_mass_bins(probability: ArrayLike, n_bins: int = DEFAULT_BINS) -> NDArray[np.int64]:
    """Bin of every row, 0.., by quantiles of its probability.

    Equal probabilities always share a bin, so many ties give fewer bins (one for a constant); the order of the rows
    does not matter. scikit-learn's `calibration_curve` gives neither the rows of a bin nor their number.

    >>> equal_mass_bins([0.1, 0.9, 0.2, 0.9], n_bins=2).tolist()
    [0, 1, 0, 1]
    """
    p = np.asarray(probability, dtype=np.float64)
    edges = np.quantile(p, np.arange(1, n_bins) / n_bins, method="higher")
    _, index = np.unique(np.searchsorted(np.unique(edges), p, side="right"), return_inverse=True)
    return index


def reliability_curve(label: ArrayLike, probability: ArrayLike, n_bins: int = DEFAULT_BINS) -> ReliabilityCurve:
    """Stated and observed frequency by bin of equal mass.

    Args:
        label: 0 or 1, shape (n,), n >= 1.
        probability: of label 1, shape (n,), no NaN.
        n_bins: at most this many bins.
    """
    y, p = np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    index = equal_mass_bins(p, n_bins)
    count = np.bincount(index)
    return ReliabilityCurve(
        mean_probability=np.bincount(index, weights=p) / count,
        observed=np.bincount(index, weights=y) / count,
        count=count,
    )


def expected_calibration_error(label: ArrayLike, probability: ArrayLike, n_bins: int = DEFAULT_BINS) -> float:
    """Expected calibration error over bins of equal mass, 0 (calibrated) .. 1.

    Bins of equal width would draw a bin of three rows like one of three hundred. The error is biased upwards on few
    rows: compare models on the same rows only. Source: Nixon et al. (2019), "Measuring Calibration in Deep Learning",
    adaptive calibration error.

    >>> expected_calibration_error([0, 1, 1, 1], [0.5, 0.5, 0.9, 0.9], n_bins=2)
    0.05
    """
    return round(reliability_curve(label, probability, n_bins).calibration_error, 12)
