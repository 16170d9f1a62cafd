"""The columns models learn from: of the row itself, of its market, and of its strategy's history.

Names: the guide's six metrics keep theirs, `log_...` is a transform, `mean_roi_6` covers the last six
windows, and `shrunk_...` are estimates for the next window, pulled toward what the whole population shows by
then. Two metrics are bounded in place, since upstream writes sentinels and near-sentinels into them (999 for
"no losing bet"); what upstream reported stays beside them as `reported_...`, for reading, never for models.

Every feature but the market's is finite. Market features are NaN where not measured.
"""

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.estimates import STAKING_FEATURES, next_window_estimates
from cleverbetter_dagster.dataset.history import History, Population, ratio
from cleverbetter_dagster.dataset.labels import DECISION_TIME
from cleverbetter_dagster.dataset.schema import (
    METRICS,
    PROFIT_FACTOR,
    ROI,
    SHARPE_RATIO,
    TOTAL_BETS,
    market_columns,
    sentinel_mask,
)

BOUNDED = {PROFIT_FACTOR: 10.0, SHARPE_RATIO: 20.0}
"""Largest magnitude a metric keeps as a feature. A sentinel lies beyond it and so becomes it, sign kept."""

REPORTED_PREFIX = "reported_"

ROW_FEATURES = (*METRICS, "no_losing_bet", "log_total_bets")

LAST_WINDOWS = (3, 6, 12)

HISTORY_FEATURES = (
    "windows_seen",
    "profit_streak",
    "mean_roi",
    "std_roi",
    "profitable_share",
    *(f"mean_roi_{k}" for k in LAST_WINDOWS),
    *(f"profitable_share_{k}" for k in LAST_WINDOWS),
    "mean_sharpe_12",
    "return_to_risk_12",
    "ewm_roi",
    "shrunk_profitable_share",
    "shrunk_sharpe",
    *STAKING_FEATURES,
)

_HALF_LIFE_WINDOWS = 6
_DECAY = 0.5 ** (np.arange(4 * _HALF_LIFE_WINDOWS) / _HALF_LIFE_WINDOWS)
"""Weights of the exponentially weighted mean, newest first; older rows would weigh less than 1/16."""


def feature_columns(panel: pd.DataFrame) -> list[str]:
    """Names of the feature columns of a panel, in the order models are given them.

    The market's part varies with the data: a feature nobody has measured by then has no column.
    """
    return [*ROW_FEATURES, *HISTORY_FEATURES, *market_columns(panel.columns)]


def add_features(panel: pd.DataFrame, sequence: np.ndarray) -> pd.DataFrame:
    """The panel with its features.

    Args:
        panel: rows in order of (decision_time, strategy, start, id), one per window; not mutated.
        sequence: integer code of each row's (strategy, method), int64[n].

    Returns:
        A new frame: `panel` with its market features cleaned, those without any value left out, bounded
        metrics with their `reported_` originals, and the columns of `ROW_FEATURES` and `HISTORY_FEATURES`.
    """
    rows = _row_features(panel)
    computed = rows | _history_features(panel, sequence, rows[SHARPE_RATIO]) | _market_features(panel)
    kept = panel.drop(columns=[*market_columns(panel.columns), *BOUNDED])
    return pd.DataFrame(dict(kept.items()) | computed, index=panel.index, copy=False)


def _row_features(panel: pd.DataFrame) -> dict[str, np.ndarray]:
    found = {f"{REPORTED_PREFIX}{name}": panel[name].to_numpy() for name in BOUNDED}
    found |= {name: np.clip(panel[name].to_numpy(), -bound, bound) for name, bound in BOUNDED.items()}
    found["no_losing_bet"] = sentinel_mask(PROFIT_FACTOR, panel[PROFIT_FACTOR]).astype(float)
    found["log_total_bets"] = np.log1p(panel[TOTAL_BETS].to_numpy())
    return found


def _market_features(panel: pd.DataFrame) -> dict[str, np.ndarray]:
    found = {}
    for name in market_columns(panel.columns):
        values = panel[name].to_numpy(dtype=float)
        measured = np.where(sentinel_mask(name, values), np.nan, values)
        if not np.isnan(measured).all():
            found[name] = measured
    return found


def _history_features(panel: pd.DataFrame, sequence: np.ndarray, sharpe: np.ndarray) -> dict[str, np.ndarray]:
    decided = panel[DECISION_TIME].to_numpy("datetime64[us]")
    history, population = History(sequence, decided), Population(decided)
    roi = panel[ROI].to_numpy()
    profitable = (roi > 0).astype(float)
    last = np.ones(12)
    found = {
        "windows_seen": history.windows_seen,
        "profit_streak": history.streak(roi > 0),
        "mean_roi": history.mean(roi),
        "std_roi": np.sqrt(history.variance(roi)),
        "profitable_share": history.mean(profitable),
        "mean_sharpe_12": history.recent(sharpe, last),
        "return_to_risk_12": ratio(history.recent(roi, last), np.sqrt(history.recent(roi**2, last))),
        "ewm_roi": history.recent(roi, _DECAY),
    }
    for k in LAST_WINDOWS:
        found[f"mean_roi_{k}"] = history.recent(roi, np.ones(k))
        found[f"profitable_share_{k}"] = history.recent(profitable, np.ones(k))
    return found | next_window_estimates(roi, panel[TOTAL_BETS].to_numpy(), history, population)
