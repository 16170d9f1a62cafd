"""How good rows are that may all be right: what was not measured, what is a sentinel, what stands there twice."""

from collections.abc import Iterator

import pandas as pd

from cleverbetter_dagster.dataset.panel import WINDOW
from cleverbetter_dagster.dataset.schema import METRICS, market_columns, sentinel_mask


def unmeasured_shares(rows: pd.DataFrame) -> pd.Series:
    """Share of the rows in which each metric or market feature holds no measurement (missing, or a sentinel).

    Args:
        rows: canonical rows.

    Returns:
        Shares 0..1 by column, largest first; empty without rows.
    """
    if rows.empty:
        return pd.Series(dtype=float)
    return pd.Series(dict(_unmeasured(rows))).sort_values(ascending=False, kind="stable")


def repeated_windows(rows: pd.DataFrame) -> int:
    """Rows whose strategy, method and window stand in another row as well, the first of each not counted."""
    return int(rows.duplicated(WINDOW).sum())


def _unmeasured(rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    for column in (*METRICS, *market_columns(rows.columns)):
        yield column, float((rows[column].isna() | sentinel_mask(column, rows[column])).mean())
