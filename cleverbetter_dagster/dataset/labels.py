"""The outcome of each row: the return of its strategy's next window, and when that return became known."""

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

    The candidates for the next window of a row are the rows of its sequence that start at or after its end and end
    after it. The next window is the candidate that is *known* first: smallest decision time, then start, then id. A row
    that becomes known later can therefore never change a label.

    Args:
        panel: rows in order of (decision_time, strategy, start, id), one per window.
        sequence: integer code of each row's (strategy, method), int64[n].
        return_threshold: fraction of capital the next roi must exceed for a label of 1.

    Returns:
        On the panel's index: `label` 1.0 or 0.0, `label_time`, `next_roi`, `next_id`. All are missing (NaN, NaT,
        None) if no next window is known. They are also missing if the next window was already known at the row's own
        decision time, which can happen with decisions at run_date: there was nothing left to decide.
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
    """Position of each row's next window, int64[n]; -1 if there is none.

    Rows must be in the order in which they became known: of several candidates the lowest position counts. By hand,
    because `pandas.merge_asof` would take the candidate that starts first.

    >>> month = np.array(["2023-01", "2023-02", "2023-03"], dtype="datetime64[M]")
    >>> next_positions(np.zeros(3, dtype=int), month[:2].repeat([1, 2]), month[[1, 2, 2]]).tolist()
    [1, -1, -1]
    """
    rows = len(sequence)
    if rows == 0:
        return np.empty(0, dtype=np.int64)
    instants, codes = np.unique(np.concatenate([start, end]), return_inverse=True)
    start_code, end_code = codes[:rows], codes[rows:]
    # A zero-length window that starts at this end time does not count as the next one.
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
    """Smallest value from each position to the end of its sequence. Sequences ascend, values are 0..n-1."""
    # A lower sequence has lower keys, so the running minimum from the right starts again at each sequence.
    keys = sequence * len(values) + values
    return np.minimum.accumulate(keys[::-1])[::-1] - sequence * len(values)
