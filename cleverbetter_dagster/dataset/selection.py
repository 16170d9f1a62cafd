"""Which rows count: the quality filter, the rows a model may learn from, and the newest rows of live strategies."""

from datetime import datetime

import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL
from cleverbetter_dagster.dataset.panel import SEQUENCE
from cleverbetter_dagster.dataset.schema import COMPOSITE_SCORE

LIVE_DAYS = 62
"""A strategy whose newest row was decided longer ago than this, at the end of as_of, is no longer run."""


def passes_filter(rows: pd.DataFrame, min_composite_score: float | None) -> pd.Series:
    """True for each row that is not of low quality, bool on `rows.index`. A minimum of None takes every row.

    A row without a score passes: scores are missing where nothing was lost, and good windows must not be dropped.
    """
    if min_composite_score is None:
        return pd.Series(True, index=rows.index)
    return ~(rows[COMPOSITE_SCORE] < min_composite_score)


def is_usable(
    panel: pd.DataFrame, min_composite_score: float | None, examples_from: datetime | None = None
) -> pd.Series:
    """True for each row that can be an example: labelled, of enough quality, not decided before `examples_from`."""
    usable = panel[LABEL].notna() & passes_filter(panel, min_composite_score)
    return usable if examples_from is None else usable & (panel[DECISION_TIME] >= examples_from)


def live_rows(panel: pd.DataFrame, as_of: AsOf) -> pd.DataFrame:
    """The newest row of every strategy (and method) that is still run at the end of `as_of`.

    Args:
        panel: what was known at that end, in order of decision time.
    """
    newest = panel.drop_duplicates(SEQUENCE, keep="last")
    return newest[newest[DECISION_TIME] >= as_of.end - pd.Timedelta(days=LIVE_DAYS)]
