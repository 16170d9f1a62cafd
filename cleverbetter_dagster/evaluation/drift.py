"""How far newer values have moved from those a model learned from, as an effect size with a least number of rows.

With many rows a p-value calls every small change a drift. The newest rows are few, one for each strategy: too few for
an index over ten bins. The distance between distribution functions needs no bins.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict
from scipy.stats import ks_2samp

from cleverbetter_dagster.evaluation.checks import CheckOutcome

FEWEST_ROWS = 100
"""With fewer rows, two samples of one distribution are as far apart as an effect."""

LARGE_DRIFT = 0.31
"""Distance of two normal distributions 0.8 standard deviations apart, Cohen's "large" (1988, section 2.2)."""

SHOWN_FEATURES = 5


class Drift(BaseModel):
    """How one column has moved.

    Attributes:
        distance: of the two distributions, 0 .. 1; see `distribution_distance`.
        mean_shift: difference of the means in standard deviations of before; None where those do not vary.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    distance: float
    mean_shift: float | None

    @property
    def is_large(self) -> bool:
        """Whether it is beyond `LARGE_DRIFT`."""
        return self.distance > LARGE_DRIFT


def distribution_distance(before: ArrayLike, after: ArrayLike) -> float:
    """Largest gap between two empirical distribution functions (Kolmogorov-Smirnov distance), 0 .. 1.

    NaN counts as a value above all others: values that go missing drift.

    >>> distribution_distance(np.arange(100), np.arange(100) + 50), distribution_distance([1, 2], [1, np.nan])
    (0.5, 0.5)
    """
    samples = (np.nan_to_num(np.asarray(values, dtype=np.float64), nan=np.inf) for values in (before, after))
    return float(ks_2samp(*samples, method="asymp").statistic)


def drift_of(column: str, before: ArrayLike, after: ArrayLike) -> Drift | None:
    """How a column has moved; None if a side has fewer than `FEWEST_ROWS` rows. The means leave NaN out."""
    old, new = (np.asarray(values, dtype=np.float64) for values in (before, after))
    if min(len(old), len(new)) < FEWEST_ROWS:
        return None
    known, known_now = old[~np.isnan(old)], new[~np.isnan(new)]
    spread = known.std() if len(known) else 0.0
    shift = float((known_now.mean() - known.mean()) / spread) if spread > 0 and len(known_now) else None
    return Drift(column=column, distance=distribution_distance(old, new), mean_shift=shift)


def drift_of_columns(before: pd.DataFrame, after: pd.DataFrame, moving: Collection[str] = ()) -> list[Drift]:
    """Drift of every column of `before`, largest first; none with too few rows.

    Args:
        before: rows learned from.
        after: newer rows; a column they lack counts as missing in every row.
        moving: columns that always move, such as a count of windows; they are left out.
    """
    names = [name for name in before.columns if name not in moving]
    aligned = after.reindex(columns=names)
    drifts = [drift_of(str(name), before[name], aligned[name]) for name in names]
    return sorted((one for one in drifts if one is not None), key=lambda one: (-one.distance, one.column))


def columns_stay(before: pd.DataFrame, after: pd.DataFrame, moving: Collection[str] = ()) -> CheckOutcome:
    """Whether no column has drifted far; arguments as for `drift_of_columns`."""
    drifts = drift_of_columns(before, after, moving)
    if not drifts:
        return _too_few(len(before), len(after))
    far = [f"{one.column} ({one.distance:.2f})" for one in drifts if one.is_large]
    largest = f"the largest distance is {drifts[0].distance:.2f}, of {drifts[0].column}"
    return CheckOutcome(
        passed=not far,
        message=f"{len(far)} of {len(drifts)} features drifted by more than {LARGE_DRIFT}: {', '.join(far)}."
        if far
        else f"None of {len(drifts)} features drifted by more than {LARGE_DRIFT}; {largest}.",
        facts={"drifted": len(far), "bound": LARGE_DRIFT, "rows_before": len(before), "rows_after": len(after)}
        | {f"distance of {one.column}": one.distance for one in drifts[:SHOWN_FEATURES]},
    )


def values_stay(before: ArrayLike, after: ArrayLike, what: str) -> CheckOutcome:
    """Whether one quantity, named for the sentence, has not drifted far."""
    drift, sizes = drift_of(what, before, after), (len(np.asarray(before)), len(np.asarray(after)))
    if drift is None:
        return _too_few(*sizes)
    return CheckOutcome(
        passed=not drift.is_large,
        message=f"The distance between {what} is {drift.distance:.2f}; at most {LARGE_DRIFT} passes.",
        facts={"distance": drift.distance, "bound": LARGE_DRIFT, "rows_before": sizes[0], "rows_after": sizes[1]},
    )


def _too_few(before: int, after: int) -> CheckOutcome:
    return CheckOutcome(
        passed=True,
        message=f"{before} and {after} rows are too few to judge: {FEWEST_ROWS} on both sides are needed.",
        facts={"rows_before": before, "rows_after": after, "fewest": FEWEST_ROWS},
    )
