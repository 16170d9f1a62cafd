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


def calibration_error(
    label: ArrayLike, probability: ArrayLike, block: ArrayLike | None = None, n_bins: int = DEFAULT_BINS
) -> float | None:
    """Root mean squared gap between observed and stated frequency over bins of equal mass, 0 (calibrated) .. 1.

    The mean absolute gap of the bins, the usual expected calibration error, is above 0 for a perfectly calibrated model
    too, by chance: .04 on 600 rows. Here a bin's squared gap is the mean product of the gaps of two rows of different
    blocks, whose chance parts are independent, so its expectation is the squared true gap. A sum below 0 counts as 0:
    a calibrated model gets 0 about every second time. Bins with one block only are left out.

    Args:
        label: 0 or 1, shape (n,), n >= 1.
        probability: of label 1, shape (n,), no NaN.
        block: of every row, shape (n,): rows of one block may share their luck, such as rows of one month. By default
            each row is its own.
        n_bins: at most this many bins.

    Returns:
        None if every bin has one block only.

    Sources: Kumar, Liang and Ma (2019), "Verified Uncertainty Calibration", NeurIPS, and Ferro and Fricker (2012),
    "A bias-corrected decomposition of the Brier score", QJRMS 138, of independent rows; pairs as in Widmann, Lindsten
    and Zachariah (2019), "Calibration tests in multi-class classification", NeurIPS.

    >>> calibration_error([0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5])
    0.0
    >>> calibration_error([0, 0, 0, 1], [0.75, 0.75, 0.75, 0.75])
    0.4330127018922193
    """
    y, p = np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    bins = equal_mass_bins(p, n_bins)
    _, blocks = np.unique(np.arange(len(p)) if block is None else np.asarray(block), return_inverse=True)
    _, cell = np.unique(bins * (blocks.max() + 1) + blocks, return_inverse=True)
    bin_of_cell = np.empty(cell.max() + 1, dtype=np.int64)
    bin_of_cell[cell] = bins
    gaps, rows = (np.bincount(cell, weights).astype(np.float64, copy=False) for weights in (y - p, np.ones(len(p))))
    products, pairs = _between_cells(gaps, bin_of_cell), _between_cells(rows, bin_of_cell)
    paired = pairs > 0
    if not paired.any():
        return None
    mean_product = products[paired] / pairs[paired]
    return float(np.sqrt(max(np.average(mean_product, weights=np.bincount(bins)[paired]), 0.0)))


def calibrated_deviation(
    label: ArrayLike, probability: ArrayLike, block: ArrayLike, n_bins: int = DEFAULT_BINS
) -> FloatArray:
    """Standard deviation of the observed frequency of each bin if the model is calibrated, shape (bins,).

    For independent rows it is that of sums of coins with the stated probabilities. Luck that rows of a block, or of
    neighbouring blocks, share makes it larger: by the variance of the sums of gaps by bin and block, plus twice the
    covariance of one block's sum and the next one's, over the variance without such luck. All bins estimate this factor
    together, because a few blocks are too few for each; it is at least 1.

    Args:
        label, probability, n_bins: as in `calibration_error`.
        block: of every row, shape (n,), in order of time, such as its month.
    """
    y, p = np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    bins = equal_mass_bins(p, n_bins)
    unique, blocks = np.unique(np.asarray(block), return_inverse=True)
    sums = np.zeros((bins.max() + 1, len(unique)))
    np.add.at(sums, (bins, blocks), y - p)
    coins = np.bincount(bins, p * (1.0 - p)).astype(np.float64, copy=False)
    steps = max(len(unique) - 1, 1)
    neighbours = 2.0 * (sums[:, 1:] * sums[:, :-1]).sum() * len(unique) / steps
    shared = (sums**2).sum() + max(neighbours, 0.0)
    factor = max(shared / coins.sum(), 1.0) if coins.sum() > 0 else 1.0
    return np.sqrt(factor * coins) / np.bincount(bins)


def _between_cells(values: FloatArray, bin_of_cell: NDArray[np.int64]) -> FloatArray:
    """By bin, the sum over ordered pairs of different cells of the product of their values."""
    sums, squares = (np.bincount(bin_of_cell, terms).astype(np.float64, copy=False) for terms in (values, values**2))
    return sums**2 - squares
