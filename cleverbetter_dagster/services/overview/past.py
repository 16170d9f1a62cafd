"""The windows of the last years, and what was advised for them: read from what is stored, without features."""

import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.labels import LABEL_TIME, NEXT_ROI, NEXT_START
from cleverbetter_dagster.dataset.panel import labelled_windows
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.services.monitoring.past_predictions import KEY, counted
from cleverbetter_dagster.services.stored_assets import ROWS, stored_months, stored_windows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.predictions import read_predictions

MONTHS = 24
"""Of windows and advice that are looked at: a page must not take longer the longer a team works."""

LAST_MONTH = "9999-12"


def past_windows(settings: Settings, spec: DatasetSpec, strategy: str | None = None) -> pd.DataFrame:
    """The windows of the last `MONTHS` months with stored rows, of one strategy or of all, with their outcomes.

    Returns:
        Canonical columns without market features, `decision_time` and the columns of `dataset.labels.outcomes`, in
        order of decision time. Empty before the first load.
    """
    months = stored_months(settings, ROWS)[-MONTHS:]
    if not months:
        return pd.DataFrame()
    return labelled_windows(stored_windows(settings, months, strategy), None, spec)


def past_advice(settings: Settings, windows: pd.DataFrame, strategy: str | None = None) -> pd.DataFrame:
    """The predictions that counted of the last `MONTHS` months, with the outcomes of their windows.

    Args:
        windows: `past_windows`.

    Returns:
        Columns of the predictions table, `stake`, and `next_start`, `label_time` and `next_roi` of the window that
        followed, missing as long as it is not known; in order of decision time.
    """
    first = AsOf.parse(stored_months(settings, ROWS)[-1]).plus(1 - MONTHS).key if len(windows) else "0000-01"
    advice = counted(read_predictions(settings, first, LAST_MONTH, strategy))
    outcome = [NEXT_START, LABEL_TIME, NEXT_ROI]
    if windows.empty:
        return advice.reindex(columns=[*advice.columns, *outcome])
    return advice.merge(windows[[*KEY, *outcome]], on=KEY, how="left").sort_values(KEY, ignore_index=True)
