"""The outcome a row is judged by: the return of the strategy's next window, and when that became known."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.schema import END_DATE, ID, ROI, START_DATE

DECISION_TIME = "decision_time"
LABEL = "label"
LABEL_TIME = "label_time"
NEXT_ROI = "next_roi"
NEXT_ID = "next_id"


def outcomes(panel: pd.DataFrame, sequence: np.ndarray, return_threshold: float) -> pd.DataFrame:
    """Label of every row.

    The next window of a row is, among the rows of its sequence that start at or after its end and end after
    it, the first to be *known*: smallest decision time, then start, then id. Chosen by when it is known, not
    by when it starts, so a label once there never changes because of a row that arrives later.

    Args:
        panel: rows in order of (decision_time, strategy, start, id), one per window.
        sequence: integer code of each row's (strategy, method), int64[n].
        return_threshold: fraction of capital the next roi must exceed for a label of 1.

    Returns:
        On the panel's index: `label` 1.0 or 0.0, `label_time`, `next_roi`, `next_id`; all missing (NaN, NaT,
        None) where no next window is known, and where it was known by the row's own decision time already
        (only possible when decisions are made at run_date): such a row decides nothing.
    """
    start, end, decided = (panel[date].to_numpy("datetime64[us]") for date in (START_DATE, END_DATE, DECISION_TIME))
    following = next_positions(sequence, start, end)
    is_example = (following >= 0) & (decided[following] > decided)
    next_rows = panel[[DECISION_TIME, ROI, ID]].take(following).set_axis(panel.index)
    next_roi = next_rows[ROI].where(is_example)
    return pd.DataFrame(
        {
            LABEL: (next_roi > return_threshold).astype(float).where(next_roi.notna()),
            LABEL_TIME: next_rows[DECISION_TIME].where(is_example),
            NEXT_ROI: next_roi,
            NEXT_ID: next_rows[ID].where(is_example, None),
        }
    )


def next_positions(sequence: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Position of each row's next window, -1 where there is none; int64[n].

    Rows must come in the order in which they became known: of the windows that qualify, the lowest position wins.

    >>> month = np.array(["2023-01", "2023-02", "2023-03"], dtype="datetime64[M]")
    >>> next_positions(np.zeros(3, dtype=int), month[:2].repeat([1, 2]), month[[1, 2, 2]]).tolist()
    [1, -1, -1]
    """
    rows = len(sequence)
    if rows == 0:
        return np.empty(0, dtype=np.int64)
    instants, codes = np.unique(np.concatenate([start, end]), return_inverse=True)
    start_code, end_code = codes[:rows], codes[rows:]
    # A window of no length that starts at this very end does not end after it: it sorts just below.
    begins = 2 * start_code + (end_code > start_code)
    ends = 2 * end_code + 1
    span = 2 * len(instants) + 2
    begin_keys = sequence * span + begins
    by_begin = np.argsort(begin_keys, kind="stable")
    first_known = _suffix_minimum(sequence[by_begin], by_begin)
    at = np.searchsorted(begin_keys[by_begin], sequence * span + ends, side="left")
    inside = at < rows
    at[~inside] = 0
    inside &= sequence[by_begin][at] == sequence
    return np.where(inside, first_known[at], -1)


def _suffix_minimum(sequence: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Smallest value from each position to its sequence's end; sequences ascend, values are 0..n-1."""
    # Lower sequences hold lower keys, so a minimum taken from the right starts anew at every border.
    keys = sequence * len(values) + values
    return np.minimum.accumulate(keys[::-1])[::-1] - sequence * len(values)
