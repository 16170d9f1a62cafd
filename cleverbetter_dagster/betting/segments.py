"""Performance of many sequences of bets at once, laid end to end in one array.

A *segment* is one such sequence: segment i is `values[first[i]:first[i + 1]]`, the last runs to the end.
None may be empty. The functions of `performance` are these with a single segment, so a backtest simulated
among thousands and an evaluation judged alone are measured by the same code. What is not defined is NaN
here.
"""

import numpy as np
from numpy.typing import NDArray

from cleverbetter_dagster.errors import InvalidInput

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def segment_lengths(n_values: int, first: IntArray) -> IntArray:
    """Length of every segment of an array of `n_values`.

    Raises:
        InvalidInput: the segments do not cover the array in order, or one is empty.

    >>> segment_lengths(5, np.array([0, 2])).tolist()
    [2, 3]
    """
    lengths = np.diff(np.append(first, n_values)).astype(np.int64)
    starts_at_zero = first[0] == 0 if len(first) else n_values == 0
    if not starts_at_zero or (lengths < 1).any():
        raise InvalidInput(
            f"{len(first)} segments over {n_values} values must start at 0, none empty: drop empty ones."
        )
    return lengths


def segment_sums(values: NDArray[np.generic], first: IntArray) -> FloatArray:
    """Sum of every segment."""
    return np.add.reduceat(values, first, dtype=np.float64)


def segment_win_rates(profits: FloatArray, first: IntArray) -> FloatArray:
    """Share of the bets of every segment with a profit above 0."""
    return segment_sums(profits > 0, first) / segment_lengths(len(profits), first)


def segment_profit_factors(profits: FloatArray, first: IntArray) -> FloatArray:
    """Gross profit over gross loss of every segment; NaN where no bet lost."""
    gain = segment_sums(np.maximum(profits, 0.0), first)
    loss = segment_sums(np.maximum(-profits, 0.0), first)
    # A loss that vanishes beside the gain is rounding error, and the ratio would be astronomical.
    return np.divide(gain, loss, out=np.full(len(first), np.nan), where=loss > 1e-12 * gain)


def segment_sharpe_ratios(returns: FloatArray, first: IntArray, periods_per_year: float) -> FloatArray:
    """Annualised mean over standard deviation (ddof=1) of every segment; NaN without variation or below
    two."""
    lengths = segment_lengths(len(returns), first)
    mean = segment_sums(returns, first) / lengths
    squares = segment_sums((returns - np.repeat(mean, lengths)) ** 2, first)
    deviation = np.sqrt(squares / np.maximum(lengths - 1, 1))
    # Equal returns leave a deviation of rounding error, and the ratio would be astronomical.
    varies = (lengths > 1) & (deviation > 1e-12 * np.maximum.reduceat(np.abs(returns), first))
    ratio = np.divide(mean, deviation, out=np.full(len(first), np.nan), where=varies)
    return ratio * np.sqrt(periods_per_year)


def segment_cumulative_sums(values: FloatArray, first: IntArray) -> FloatArray:
    """Running sum that starts anew with every segment, shape of `values`."""
    lengths = segment_lengths(len(values), first)
    running = np.cumsum(values)
    before = running[first] - values[first]
    return running - np.repeat(before, lengths)


def segment_max_drawdowns(curve: FloatArray, first: IntArray, initial: float) -> FloatArray:
    """Largest fall of every segment's bankroll below its earlier peak, as a fraction of that peak, 0..1.

    Every segment starts from `initial` > 0, which is not in `curve`; the curve is floored at 0 (ruin).
    """
    lengths = segment_lengths(len(curve), first)
    bankroll = np.maximum(curve, 0.0)
    peak = np.maximum(_running_maximum(bankroll, first, lengths), initial)
    return np.maximum.reduceat((peak - bankroll) / peak, first)


def _running_maximum(values: FloatArray, first: IntArray, lengths: IntArray) -> FloatArray:
    """Running maximum within segments by doubling: after step k every value has seen 2**k before it."""
    peak = values.copy()
    position = np.arange(len(values)) - np.repeat(first, lengths)
    shift = 1
    while shift < lengths.max(initial=0):
        reached = position[shift:] >= shift
        peak[shift:] = np.where(reached, np.maximum(peak[shift:], peak[:-shift]), peak[shift:])
        shift *= 2
    return peak
