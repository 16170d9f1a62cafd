"""What the stakes of earlier months' predictions still hold of the bankroll."""

import pandas as pd

from cleverbetter_dagster.betting.open_stakes import open_at
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL_TIME, NEXT_ROI, NEXT_START, windows_of
from cleverbetter_dagster.dataset.panel import SEQUENCE
from cleverbetter_dagster.dataset.schema import END_DATE, METHOD, START_DATE, STRATEGY
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.predictions import read_predictions

MONTHS = 24
"""Predictions of so many months are looked at: longer windows are not staked on."""

ROW = [STRATEGY, METHOD, DECISION_TIME]


def open_stake_fraction(settings: Settings, panel: pd.DataFrame, as_of: AsOf) -> float:
    """Share of the realised bankroll that earlier predictions hold at the end of `as_of`.

    The last prediction of a row counts. The newest row of a strategy is predicted anew now, so its own earlier
    predictions do not. A window has ended when its row is known; until then it is expected to begin when its strategy's
    last one ended and to be as long, and a strategy that has a later row by then has moved on.

    Args:
        panel: everything known at that end.
    """
    predictions = read_predictions(settings, as_of.plus(-MONTHS).key, as_of.plus(-1).key)
    last = predictions.sort_values(["as_of", "created_at"]).drop_duplicates(ROW, keep="last")
    last = last.assign(**{DECISION_TIME: last[DECISION_TIME].dt.as_unit("us")})
    superseded = panel[panel.duplicated(SEQUENCE, keep="last")]
    columns = [*ROW, START_DATE, END_DATE, NEXT_START, LABEL_TIME, NEXT_ROI]
    placed = last[last["recommended_stake"] > 0].merge(superseded[columns], on=ROW)
    begins, length = placed[END_DATE], placed[END_DATE] - placed[START_DATE]
    expected = {NEXT_START: placed[NEXT_START].fillna(begins), LABEL_TIME: placed[LABEL_TIME].fillna(begins + length)}
    placed = placed.assign(**expected)
    placed = placed[placed[LABEL_TIME] > placed[DECISION_TIME]]
    end = as_of.end.tz_localize(None).to_datetime64()
    return open_at(windows_of(placed), placed["recommended_stake"], placed[NEXT_ROI].fillna(0.0), end)
