"""Whether features or scores of newer rows have shifted, as an effect size.

With many rows a p-value calls every trifle a shift. The newest rows are few, one a strategy, for which an index over
ten bins is noise; the distance of distribution functions needs no bins.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cleverbetter_dagster.evaluation.finding import Finding

FEWEST_ROWS = 100
"""Below, the distance of two samples of one distribution is itself of the size of an effect."""

LARGE_EFFECT = 0.31
"""Distance of two normal distributions 0.8 standard deviations apart, Cohen's "large" (1988, section 2.2)."""

SHOWN_FEATURES = 5


def distribution_distance(before: ArrayLike, after: ArrayLike) -> float | None:
    """Largest gap between two empirical distribution functions (Kolmogorov-Smirnov distance), 0 .. 1.

    Missing values are left out. None where either side has fewer than `FEWEST_ROWS` values.

    >>> distribution_distance(np.arange(100), np.arange(100) + 50)
    0.5
    """
    first, second = (np.sort(_measured(values)) for values in (before, after))
    if min(len(first), len(second)) < FEWEST_ROWS:
        return None
    everywhere = np.concatenate([first, second])
    gaps = np.searchsorted(first, everywhere, "right") / len(first) - np.searchsorted(
        second, everywhere, "right"
    ) / len(second)
    return float(np.abs(gaps).max())


def features_shifted(before: pd.DataFrame, after: pd.DataFrame, moving: Collection[str] = ()) -> Finding:
    """Whether no feature has shifted by a large effect between two sets of rows.

    Args:
        before: features of the rows learned from.
        after: features of newer rows.
        moving: features that shift by their nature, such as a count of windows; they are left out.
    """
    shared = [name for name in before.columns if name in after.columns and name not in moving]
    found = {name: distribution_distance(before[name], after[name]) for name in shared}
    measured = {name: distance for name, distance in found.items() if distance is not None}
    if not measured:
        return _too_few(len(before), len(after))
    ordered = sorted(measured.items(), key=lambda item: -item[1])
    moved = [f"{name} ({distance:.2f})" for name, distance in ordered if distance > LARGE_EFFECT]
    largest = f"the largest distance is {ordered[0][1]:.2f}, of {ordered[0][0]}"
    return Finding(
        passed=not moved,
        told=f"{len(moved)} of {len(measured)} features shifted by more than {LARGE_EFFECT}: {', '.join(moved)}."
        if moved
        else f"None of {len(measured)} features shifted by more than {LARGE_EFFECT}; {largest}.",
        facts={"moved": len(moved), "bound": LARGE_EFFECT, "rows_before": len(before), "rows_after": len(after)}
        | {f"distance of {name}": distance for name, distance in ordered[:SHOWN_FEATURES]},
    )


def values_shifted(before: ArrayLike, after: ArrayLike, what: str) -> Finding:
    """Whether one quantity, named for the sentence, has not shifted by a large effect."""
    distance = distribution_distance(before, after)
    sizes = len(np.asarray(before)), len(np.asarray(after))
    if distance is None:
        return _too_few(*sizes)
    return Finding(
        passed=distance <= LARGE_EFFECT,
        told=f"The distance between {what} is {distance:.2f}; at most {LARGE_EFFECT} passes.",
        facts={"distance": distance, "bound": LARGE_EFFECT, "rows_before": sizes[0], "rows_after": sizes[1]},
    )


def _measured(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return array[~np.isnan(array)]


def _too_few(before: int, after: int) -> Finding:
    return Finding(
        passed=True,
        told=f"{before} and {after} rows are too few to tell: {FEWEST_ROWS} values on both sides are needed.",
        facts={"rows_before": before, "rows_after": after, "fewest": FEWEST_ROWS},
    )
