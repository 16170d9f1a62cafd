"""The outcome of each row: the return of its strategy's next window, and when that return became known."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.open_stakes import Windows
from cleverbetter_dagster.dataset.schema import END_DATE, ID, ROI, START_DATE

DECISION_TIME = "decision_time"
LABEL = "label"
LABEL_TIME = "label_time"
NEXT_ROI = "next_roi"
NEXT_ID = "next_id"
NEXT_START = "next_start"


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
        On the panel's index: `label` 1.0 or 0.0, `label_time`, `next_start` (of the next window), `next_roi`,
        `next_id`. All are missing (NaN, NaT, None) if no next window is known. They are also missing if the next window
        was already known at the row's own decision time, which can happen with decisions at run_date: there was nothing
        left to decide.
    """
    start, end, decided = (panel[date].to_numpy("datetime64[us]") for date in (START_DATE, END_DATE, DECISION_TIME))
    following = next_positions(sequence, start, end)
    is_example = (following >= 0) & (decided[following] > decided)
    next_rows = panel[[DECISION_TIME, START_DATE, ROI, ID]].take(following).set_axis(panel.index)
    next_roi = next_rows[ROI].where(is_example)
    return pd.DataFrame(
        {
            LABEL: (next_roi > return_threshold).astype(float).where(next_roi.notna()),
            LABEL_TIME: next_rows[DECISION_TIME].where(is_example),
            NEXT_START: next_rows[START_DATE].where(is_example),
            NEXT_ROI: next_roi,
            NEXT_ID: next_rows[ID].where(is_example, None),
        }
    )


def windows_of(labelled: pd.DataFrame) -> Windows:
    """What a stake on each labelled row is open for: from its decision to the label time, its next window's end."""
    times = (labelled[column].to_numpy("datetime64[us]") for column in (DECISION_TIME, NEXT_START, LABEL_TIME))
    return Windows(*times)


def next_positions(sequence: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Position of each row's next window, int64[n]; -1 if there is none.

    Rows must be in the order in which they became known: of several candidates the lowest position counts.

    >>> month = np.array(["2023-01", "2023-02", "2023-03"], dtype="datetime64[M]")
    >>> next_positions(np.zeros(3, dtype=int), month[:2].repeat([1, 2]), month[[1, 2, 2]]).tolist()
    [1, -1, -1]
    """
    position = np.arange(len(sequence))
    # A zero-length window that starts at this end time does not count as the next one: it gets the smaller number.
    begins, ends = 2 * start.astype(np.int64) + (end > start), 2 * end.astype(np.int64) + 1
    candidates = pd.DataFrame({"sequence": sequence, "begins": begins, "first_known": position})
    candidates = candidates.sort_values("begins", kind="stable")
    candidates["first_known"] = candidates[::-1].groupby("sequence")["first_known"].cummin()
    rows = pd.DataFrame({"sequence": sequence, "ends": ends, "position": position}).sort_values("ends", kind="stable")
    following = pd.merge_asof(rows, candidates, left_on="ends", right_on="begins", by="sequence", direction="forward")
    return following.sort_values("position")["first_known"].fillna(-1).to_numpy(dtype=np.int64)
