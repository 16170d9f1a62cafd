"""Cutting examples in time: three parts for train, validation and test, folds within a part. Never at random.

The rules, everywhere: a decision time is never cut in two; what is fitted on comes before what it is judged
on; and a row is fitted on only if its label was known when the later part starts (purge), or some time before
that (embargo). Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 7; here only forward,
so only one side is purged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, LABEL_TIME
from cleverbetter_dagster.dataset.selection import is_usable
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import NotEnoughRows

PARTS = ("train", "validation", "test")
NO_EMBARGO = pd.Timedelta(0)


class PartSummary(BaseModel):
    """What one part of a split holds.

    Attributes:
        rows: examples in the part.
        purged: examples decided in its time but left out, since their labels reach into the next part.
        positives: examples labelled 1.
        first_decision: earliest decision time, UTC; `last_decision`, `last_label` likewise the latest.
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
        validation_start: also the end of train: the earlier part is decided strictly before, the later at or after.
        test_start: likewise between validation and test.
        embargo_days: how long before the next part starts a label must have been known.
        min_composite_score: the quality filter; None takes every row.
        examples_from: nothing decided before is an example; None for an expanding window.
    """

    model_config = ConfigDict(frozen=True)

    validation_start: datetime
    test_start: datetime
    embargo_days: float
    min_composite_score: float | None
    examples_from: datetime | None = None


class TemporalSplit(Cuts):
    """Where a panel's examples were cut, and the resulting parts. Serialises to JSON; `apply_split` repeats it.

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
        """Examples dropped because their labels reach into the part after theirs."""
        return self.train.purged + self.validation.purged


@dataclass(frozen=True, eq=False)
class Partition:
    """The examples of a split."""

    train: Examples
    validation: Examples
    test: Examples
    split: TemporalSplit


def split_examples(panel: pd.DataFrame, spec: DatasetSpec) -> Partition:
    """Cut the panel's examples by decision time.

    Examples are the labelled rows that pass the quality filter and lie in the window of history. Borders lie where
    the shares of examples decided before them come closest to the fractions of `spec`.

    Raises:
        NotEnoughRows: fewer than three distinct decision times, or a part left empty by the purge.
    """
    start = _window_start(panel[DECISION_TIME], spec.max_history_months)
    usable = panel.loc[is_usable(panel, spec.min_composite_score, start), DECISION_TIME]
    shares = (spec.train_fraction, spec.train_fraction + spec.validation_fraction)
    validation_start, test_start = _borders(usable, shares, "train, validation and test")
    cuts = Cuts(
        validation_start=validation_start,
        test_start=test_start,
        embargo_days=spec.embargo_days,
        min_composite_score=spec.min_composite_score,
        examples_from=start,
    )
    return _cut(panel, cuts)


def apply_split(panel: pd.DataFrame, split: Cuts) -> Partition:
    """Cut a panel where `split` says: the same panel gives the same parts, whatever the spec says by now.

    A panel of a later as_of has more labels: its test part goes on to its own end.

    Raises:
        NotEnoughRows: a part is empty.
    """
    return _cut(panel, split)


def temporal_folds(
    decision_time: pd.Series, label_time: pd.Series, n_folds: int, embargo: pd.Timedelta = NO_EMBARGO
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds that only look forward: fit on what was known when the fold starts, score the fold.

    The rows are cut, in time, into `n_folds + 1` blocks of about equal size; the first is only fitted on.

    Args:
        decision_time: of each example, in any order.
        label_time: of each example; one later than a fold's start, less `embargo`, is not fitted on in it.
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
    """First instant of the `months` calendar months (UTC) that end with the newest decision's."""
    if months is None or decision_time.empty:
        return None
    return AsOf.of(decision_time.max()).plus(1 - months).start


def _known(label_time: pd.Series, start: pd.Timestamp, embargo: pd.Timedelta) -> pd.Series:
    return label_time <= start - embargo


def _borders(decision_time: pd.Series, shares: Sequence[float], parts: str) -> list[pd.Timestamp]:
    """Distinct decision times at which to cut, so that about `shares` of the rows lie before each."""
    counts = decision_time.value_counts().sort_index()
    if len(counts) <= len(shares):
        raise NotEnoughRows(
            f"{len(counts)} distinct decision times among {len(decision_time)} examples, at least "
            f"{len(shares) + 1} needed for {parts}: one moment is never cut in two. Load more history."
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


def _cut(panel: pd.DataFrame, cuts: Cuts) -> Partition:
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
