"""Splits in time, never at random: train, validation and test of a panel, and folds within a part.

The rules: rows of one decision time are never separated; a model is fitted on rows before those it is judged on; and
it is fitted on a row only if the label was known when the later part starts (purge), or some time before that
(embargo). Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 7; here only forward, so only one side
is purged. By hand, because scikit-learn's TimeSeriesSplit knows neither label times nor rows of one time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, LABEL_TIME
from cleverbetter_dagster.dataset.selection import is_usable
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import NotEnoughRows

PARTS = ("train", "validation", "test")
NO_EMBARGO = pd.Timedelta(0)


class PartSummary(BaseModel):
    """Counts and times (UTC) of one part of a split.

    Attributes:
        rows: examples in the part.
        purged: examples decided in its time but left out, since their labels were known too late for the next part.
        positives: examples labelled 1.
        first_decision: earliest decision time.
        last_decision: latest decision time.
        last_label: latest label time.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    purged: int
    positives: int
    first_decision: datetime
    last_decision: datetime
    last_label: datetime


class Cuts(BaseModel):
    """Which rows are examples, and of which part. All times UTC.

    Attributes:
        validation_start: train is decided strictly before, validation at or after.
        test_start: validation is decided strictly before, test at or after.
        embargo_days: how long before the next part starts a label must have been known.
        min_composite_score: the quality filter; None takes every row.
        examples_from: rows decided before are no examples; None for an expanding window.
    """

    model_config = ConfigDict(frozen=True)

    validation_start: datetime
    test_start: datetime
    embargo_days: float
    min_composite_score: float | None
    examples_from: datetime | None


class TemporalSplit(Cuts):
    """The cuts of a panel and the resulting parts. It is stored as JSON; `apply_split` repeats it.

    `filtered_rows` have a label but failed the quality filter or lie before `examples_from`.
    """

    train: PartSummary
    validation: PartSummary
    test: PartSummary
    filtered_rows: int
    unlabelled_rows: int

    @property
    def usable_rows(self) -> int:
        """Examples in all three parts together."""
        return self.train.rows + self.validation.rows + self.test.rows

    @property
    def purged_rows(self) -> int:
        """Examples left out because their labels were known too late for the next part."""
        return self.train.purged + self.validation.purged


@dataclass(frozen=True, eq=False)
class Partition:
    """The examples of a split."""

    train: Examples
    validation: Examples
    test: Examples
    split: TemporalSplit

    @property
    def past(self) -> Examples:
        """Train and validation as one: everything that a model learns from."""
        return pooled(self.train, self.validation)


def split_examples(panel: pd.DataFrame, spec: DatasetSpec) -> Partition:
    """Split the panel's examples by decision time, so that the parts come closest to the fractions of `spec`.

    Examples are the labelled rows that pass the quality filter and lie in the window of history.

    Raises:
        NotEnoughRows: fewer than three distinct decision times, or a part left empty by the purge.
    """
    start = _window_start(panel[DECISION_TIME], spec.max_history_months)
    usable = panel.loc[is_usable(panel, spec.min_composite_score, start), DECISION_TIME]
    shares = (spec.train_fraction, spec.train_fraction + spec.validation_fraction)
    validation_start, test_start = _borders(usable, shares, "train, validation and test")
    options = spec.model_dump(include={"embargo_days", "min_composite_score"})
    cuts = Cuts(validation_start=validation_start, test_start=test_start, examples_from=start, **options)
    return apply_split(panel, cuts)


def apply_split(panel: pd.DataFrame, cuts: Cuts) -> Partition:
    """Split a panel at the cuts of an earlier split: the same panel gives the same parts again.

    A panel of a later as_of has more labels, so its test part is longer.

    Raises:
        NotEnoughRows: a part is empty.
    """
    usable = is_usable(panel, cuts.min_composite_score, cuts.examples_from)
    borders = [pd.Timestamp(cuts.validation_start), pd.Timestamp(cuts.test_start)]
    block = np.searchsorted(pd.DatetimeIndex(borders), pd.DatetimeIndex(panel[DECISION_TIME]), side="right")
    embargo = pd.Timedelta(days=cuts.embargo_days)
    frames, summaries = {}, {}
    for number, (name, end) in enumerate(zip(PARTS, [*borders, None], strict=True)):
        part = usable & (block == number)
        known_in_time = part if end is None else part & _known(panel[LABEL_TIME], end, embargo)
        frames[name] = panel[known_in_time]
        summaries[name] = _summary(name, frames[name], purged=int(part.sum() - known_in_time.sum()))
    labelled = int(panel[LABEL].notna().sum())
    split = TemporalSplit(
        **{name: getattr(cuts, name) for name in Cuts.model_fields},
        **summaries,
        filtered_rows=labelled - int(usable.sum()),
        unlabelled_rows=len(panel) - labelled,
    )
    return Partition(**{name: Examples(frame) for name, frame in frames.items()}, split=split)


def temporal_folds(
    decision_time: pd.Series, label_time: pd.Series, n_folds: int, embargo: pd.Timedelta = NO_EMBARGO
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Forward folds: fit on the rows whose labels were known when the fold starts, score the fold.

    The rows are cut, in time, into `n_folds + 1` blocks of about equal size. The first block is only fitted on.

    Args:
        decision_time: of each example, in any order.
        label_time: of each example. A fold does not fit on rows whose label time is after its start less `embargo`.
        n_folds: how many, at least 1.
        embargo: how long before a fold's start a label must have been known.

    Returns:
        Pairs (positions to fit on, positions to score), each ascending, in order of time.

    Raises:
        NotEnoughRows: no fold, fewer than `n_folds + 1` distinct decision times, or a fold without rows to fit on.
    """
    if n_folds < 1:
        raise NotEnoughRows(f"{n_folds} folds leave nothing to score; take at least 1.")
    shares = [fold / (n_folds + 1) for fold in range(1, n_folds + 1)]
    starts = _borders(decision_time, shares, f"{n_folds} folds and the rows before them")
    block = np.searchsorted(pd.DatetimeIndex(starts), pd.DatetimeIndex(decision_time), side="right")
    folds = []
    for number, start in enumerate(starts, start=1):
        fit = np.flatnonzero((block < number) & _known(label_time, start, embargo))
        if not len(fit):
            raise NotEnoughRows(
                f"Fold {number} of {n_folds} has 0 rows to fit on: none of the {int((block < number).sum())} decided "
                f"before {start} had its label {embargo} earlier. Take fewer folds or a shorter embargo."
            )
        folds.append((fit, np.flatnonzero(block == number)))
    return folds


def _window_start(decision_time: pd.Series, months: int | None) -> pd.Timestamp | None:
    """First instant of the `months` calendar months (UTC) up to that of the newest decision."""
    if months is None or decision_time.empty:
        return None
    return AsOf.of(decision_time.max()).plus(1 - months).start


def _known(label_time: pd.Series, start: pd.Timestamp, embargo: pd.Timedelta) -> pd.Series:
    return label_time <= start - embargo


def _borders(decision_time: pd.Series, shares: Sequence[float], parts: str) -> list[pd.Timestamp]:
    """Distinct decision times to cut at, so that the shares of rows before them come closest to `shares`."""
    counts = decision_time.value_counts().sort_index()
    if len(counts) <= len(shares):
        raise NotEnoughRows(
            f"{len(counts)} distinct decision times among {len(decision_time)} examples, at least "
            f"{len(shares) + 1} needed for {parts}: rows of one time are never separated. Load more history."
        )
    before = counts.cumsum().shift(fill_value=0).to_numpy()
    borders, lowest = [], 1
    for position, share in enumerate(shares):
        highest = len(counts) - (len(shares) - position)
        missed_by = np.abs(before[lowest : highest + 1] - share * len(decision_time))
        border = lowest + int(np.argmin(missed_by))
        borders.append(pd.Timestamp(counts.index[border]))
        lowest = border + 1
    return borders


def _summary(name: str, frame: pd.DataFrame, purged: int) -> PartSummary:
    if frame.empty:
        raise NotEnoughRows(
            f"The {name} part is empty: of {purged} rows none had its label known before the next part starts "
            "(less embargo_days). Load more history or shorten embargo_days."
        )
    return PartSummary(
        rows=len(frame),
        purged=purged,
        positives=int(frame[LABEL].sum()),
        first_decision=frame[DECISION_TIME].min(),
        last_decision=frame[DECISION_TIME].max(),
        last_label=frame[LABEL_TIME].max(),
    )
