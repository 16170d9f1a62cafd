"""A model's figures on parts of the rows, cut by a quantity known at decision time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, leaderboard_row
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows

FEWEST_ROWS = 30
"""A slice with fewer rows is not reported: its figures would be noise."""

QUARTERS = ("December to February", "March to May", "June to August", "September to November")
"""Parts of the year, by the months' names: which season they are depends on the hemisphere."""


@dataclass(frozen=True)
class Slice:
    """One part of the rows, and how the model did on it."""

    name: str
    profitable: float
    """Share of the rows whose next window was profitable."""
    stated: float
    """Mean probability the model gave."""
    row: LeaderboardRow


def quartile_names(values: pd.Series, digits: int = 0) -> pd.Series:
    """For each row, the quarter of the values it lies in, named by its least and its largest; `unknown` if missing.

    >>> quartile_names(pd.Series([1.0, 2.0, 3.0, 4.0, 5.0])).tolist()
    ['1 to 2', '1 to 2', '3', '4', '5']
    """
    edges = np.unique(np.nanquantile(values, [0, 0.25, 0.5, 0.75, 1.0])) if values.notna().any() else np.array([0.0])
    if len(edges) < 2:
        return values.map(lambda value: "unknown" if pd.isna(value) else f"{value:,.{digits}f}")
    place = pd.Series(np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2), index=values.index)
    ends = values.groupby(place).agg(["min", "max"])
    texts = {at: [f"{end:,.{digits}f}" for end in (low, high)] for at, low, high in ends.itertuples()}
    names = {at: low if low == high else f"{low} to {high}" for at, (low, high) in texts.items()}
    return place.map(names).where(values.notna(), "unknown")


def sliced(
    rows: ScoredRows, names: Sequence[str], order: Sequence[str], spec: IntervalSpec | None = None
) -> list[Slice]:
    """The rows cut by name, in `order`; names of fewer than `FEWEST_ROWS` rows are left out.

    Args:
        rows: n scored rows.
        names: the slice of each row, length n.
        order: names of slices in the order they are reported.
        spec: how intervals are made.
    """
    belongs = np.asarray(names)
    masks = {name: belongs == name for name in order}
    return [_slice(name, rows, mask, spec) for name, mask in masks.items() if mask.sum() >= FEWEST_ROWS]


def _slice(name: str, rows: ScoredRows, mask: np.ndarray, spec: IntervalSpec | None) -> Slice:
    part = ScoredRows(
        rows.decision_time[mask],
        rows.label[mask],
        rows.next_roi[mask],
        rows.probability[mask],
        rows.stake[mask],
        rows.windows.take(mask),
    )
    return Slice(name, float(part.label.mean()), float(part.probability.mean()), leaderboard_row(name, part, spec))
