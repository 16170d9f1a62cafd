"""Examples: labelled rows that a model is fitted to or judged on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.open_stakes import Windows
from cleverbetter_dagster.dataset.features import feature_columns
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, LABEL_TIME, NEXT_ROI, windows_of
from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.dataset.spec import GUIDE_MIN_EXAMPLES, DatasetSpec
from cleverbetter_dagster.errors import DataError, NotEnoughRows


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled rows of a panel, in order of decision time.

    Attributes:
        frame: rows of a panel (dataset.panel), all with a label.

    Raises:
        DataError: a row has no label.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        unlabelled = int(self.frame[LABEL].isna().sum())
        if unlabelled:
            raise DataError(f"{unlabelled} of {len(self.frame)} rows have no label; only labelled rows are examples.")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def X(self) -> pd.DataFrame:
        """Features, float64[n, features]; NaN in market features only."""
        return self.frame[feature_columns(self.frame)]

    @property
    def y(self) -> np.ndarray:
        """Labels, int8[n]: 1 where the next window's return beat the threshold."""
        return self.frame[LABEL].to_numpy(dtype=np.int8)

    @property
    def next_roi(self) -> np.ndarray:
        """Return of the next window as a fraction of capital, float64[n]."""
        return self.frame[NEXT_ROI].to_numpy()

    @property
    def decision_time(self) -> pd.Series:
        """When each row was known, UTC."""
        return self.frame[DECISION_TIME]

    @property
    def label_time(self) -> pd.Series:
        """When each label was known, UTC; later than the decision time."""
        return self.frame[LABEL_TIME]

    @property
    def windows(self) -> Windows:
        """What a stake on each is open for."""
        return windows_of(self.frame)

    @property
    def ids(self) -> pd.Series:
        """Id of each row."""
        return self.frame[ID]

    def take(self, positions: np.ndarray) -> "Examples":
        """The examples at `positions`, in that order."""
        return Examples(self.frame.take(positions))


def pooled(earlier: Examples, later: Examples) -> Examples:
    """Two parts as one, in order of time, on a fresh index."""
    return Examples(pd.concat([earlier.frame, later.frame], ignore_index=True))


def check_enough(usable: int, spec: DatasetSpec) -> None:
    """Refuse to train on fewer examples than `spec.min_examples`.

    Raises:
        NotEnoughRows: with both numbers, the guide's advice and the setting that overrides it.
    """
    if usable >= spec.min_examples:
        return
    minimum = spec.min_composite_score
    advice = "" if minimum is None else f" lower min_composite_score (now {minimum:g}; none takes every row),"
    raise NotEnoughRows(
        f"{usable} usable examples, {spec.min_examples} needed. The training guide asks for at least "
        f"{GUIDE_MIN_EXAMPLES:,} backtest results: load more history,{advice} or lower min_examples if a rough model "
        "is wanted anyway."
    )
