"""The columns models learn from: of the row itself, of its market, and of its strategy's history.

To add a feature, add its name and computation to `FEATURES`. A market feature needs no line: each column `ml_...` of
the rows is one. The guide's six metrics keep their names, `log_...` is a transform, `mean_roi_6` covers the last six
windows, and `shrunk_...` are estimates of the next window (dataset.estimates).

Two metrics are bounded, since upstream writes sentinels and near-sentinels into them (999 for "no losing bet"). A ratio
without a value is neutral, and its kind is a feature of its own: `no_bet`, `no_losing_bet`, `no_sharpe_ratio` or
`no_profit_factor`.

Every feature but the market's is finite. Market features are NaN where not measured.
"""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.edges.edges import Observed, edges_of
from cleverbetter_dagster.dataset.edges.next_window import EDGE_RETURN, EDGE_SHARPE, EDGE_STD, EdgeWindow
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS, SHRUNK_RETURN, SHRUNK_STD, NextWindow
from cleverbetter_dagster.dataset.history import History, Population, ratio
from cleverbetter_dagster.dataset.labels import DECISION_TIME
from cleverbetter_dagster.dataset.schema import (
    METRICS,
    PROFIT_FACTOR,
    ROI,
    SHARPE_RATIO,
    TOTAL_BETS,
    WIN_RATE,
    market_columns,
    sentinel_mask,
)

BOUNDED = {PROFIT_FACTOR: 10.0, SHARPE_RATIO: 20.0}
"""Largest magnitude of a metric as a feature. A sentinel is larger, so it becomes this number with the same sign."""

NEUTRAL = {PROFIT_FACTOR: 1.0, SHARPE_RATIO: 0.0, WIN_RATE: 0.5}
"""The feature where a ratio has no value: neither good nor bad. Another feature says that it has none."""

LAST_WINDOWS = (3, 6, 12)

_HALF_LIFE_WINDOWS = 6
_DECAY = 0.5 ** (np.arange(4 * _HALF_LIFE_WINDOWS) / _HALF_LIFE_WINDOWS)
"""Weights of the exponentially weighted mean, newest first; older rows would weigh less than 1/16."""


class FeatureInputs:
    """What features are computed from.

    Args:
        panel: rows in order of (decision_time, strategy, start, id), one per window.
        sequence: integer code of each row's (strategy, method), int64[n].
    """

    def __init__(self, panel: pd.DataFrame, sequence: np.ndarray) -> None:
        decided = panel[DECISION_TIME].to_numpy("datetime64[us]")
        self.panel, self._sequence, self._decided = panel, sequence, decided
        self.roi, self.bets = panel[ROI].to_numpy(), panel[TOTAL_BETS].to_numpy()
        self.profitable = (self.roi > 0).astype(float)
        self.history, self.population = History(sequence, decided), Population(decided)
        self.next_window = NextWindow(self.roi, self.bets, self.history, self.population)

    @cached_property
    def edge_window(self) -> EdgeWindow:
        """Estimates of the next window from all strategies."""
        market = [_measured(self.panel, name) for name in market_columns(self.panel.columns)]
        placed = self.bets > 0
        own = [np.where(placed, self.panel[name].to_numpy(), np.nan) for name in (TOTAL_BETS, WIN_RATE)]
        described = np.column_stack([*market, *own])
        rows = Observed(self._sequence, self._decided, np.where(placed, self.roi, 0.0), self.bets, described)
        return EdgeWindow(edges_of(rows), self.history.mean(self.bets))

    def metric(self, name: str) -> np.ndarray:
        """A metric of the rows, within its bound, or `NEUTRAL` where it has no value."""
        bound, values = BOUNDED.get(name, np.inf), self.panel[name].to_numpy()
        return np.clip(np.where(np.isnan(values), NEUTRAL.get(name, np.nan), values), -bound, bound)

    def lacks(self, name: str) -> np.ndarray:
        """1 where a metric has no value in a window with bets, 0 elsewhere."""
        return (self.panel[name].isna().to_numpy() & (self.bets > 0)).astype(float)

    def mean_sharpe(self, windows: int) -> np.ndarray:
        """Mean Sharpe ratio of those of the last `windows` that have one, else `NEUTRAL`."""
        has_value = self.panel[SHARPE_RATIO].notna().to_numpy()
        measured = np.where(has_value, self.metric(SHARPE_RATIO), 0.0)
        share = self.mean_of_last(windows, has_value.astype(float))
        return ratio(self.mean_of_last(windows, measured), share, NEUTRAL[SHARPE_RATIO])

    def mean_of_last(self, windows: int, values: np.ndarray) -> np.ndarray:
        """Mean over the last `windows` of each row's history, itself included."""
        return self.history.recent(values, np.ones(windows))

    def mean_roi(self, windows: int) -> np.ndarray:
        """Mean roi of the last `windows`."""
        return self.mean_of_last(windows, self.roi)

    def profitable_share(self, windows: int) -> np.ndarray:
        """Share of the last `windows` with a roi above 0."""
        return self.mean_of_last(windows, self.profitable)

    def return_to_risk(self, windows: int) -> np.ndarray:
        """Mean roi of the last `windows` over its root mean square."""
        return ratio(self.mean_roi(windows), np.sqrt(self.mean_of_last(windows, self.roi**2)))


FEATURES: dict[str, Callable[[FeatureInputs], np.ndarray]] = {
    **{name: partial(FeatureInputs.metric, name=name) for name in METRICS},
    "no_bet": lambda of: (of.bets == 0).astype(float),
    "no_sharpe_ratio": partial(FeatureInputs.lacks, name=SHARPE_RATIO),
    "no_profit_factor": partial(FeatureInputs.lacks, name=PROFIT_FACTOR),
    "no_losing_bet": lambda of: sentinel_mask(PROFIT_FACTOR, of.panel[PROFIT_FACTOR]).astype(float),
    "log_total_bets": lambda of: np.log1p(of.bets),
    "windows_seen": lambda of: of.history.windows_seen,
    "profit_streak": lambda of: of.history.streak(of.roi > 0),
    "mean_roi": lambda of: of.history.mean(of.roi),
    "std_roi": lambda of: np.sqrt(of.history.variance(of.roi)),
    "profitable_share": lambda of: of.history.mean(of.profitable),
    **{f"mean_roi_{k}": partial(FeatureInputs.mean_roi, windows=k) for k in LAST_WINDOWS},
    **{f"profitable_share_{k}": partial(FeatureInputs.profitable_share, windows=k) for k in LAST_WINDOWS},
    "mean_sharpe_12": partial(FeatureInputs.mean_sharpe, windows=12),
    "return_to_risk_12": lambda of: of.return_to_risk(12),
    "ewm_roi": lambda of: of.history.recent(of.roi, _DECAY),
    "shrunk_profitable_share": lambda of: of.next_window.profitable_share,
    "shrunk_sharpe": lambda of: of.next_window.sharpe,
    SHRUNK_RETURN: lambda of: of.next_window.expected_return,
    SHRUNK_STD: lambda of: of.next_window.std,
    SHRUNK_GAIN: lambda of: of.next_window.gain,
    SHRUNK_LOSS: lambda of: of.next_window.loss,
    EDGE_SHARPE: lambda of: of.edge_window.sharpe,
    EDGE_RETURN: lambda of: of.edge_window.expected_return,
    EDGE_STD: lambda of: of.edge_window.std,
}
"""Every feature but the market's: its name and its computation, finite float64[n]. Models see them in this order."""


def feature_columns(panel: pd.DataFrame) -> list[str]:
    """Names of the feature columns of a panel, in the order that models see.

    The market's part varies with the data: a feature without any value by then has no column.
    """
    return [*FEATURES, *market_columns(panel.columns)]


def add_features(panel: pd.DataFrame, sequence: np.ndarray) -> pd.DataFrame:
    """The panel with its features.

    Args:
        panel: as for `FeatureInputs`; not mutated.
        sequence: as for `FeatureInputs`.

    Returns:
        A new frame: `panel` with its metrics bounded, its market features cleaned (those without any value left out)
        and the other columns of `FEATURES`.
    """
    inputs = FeatureInputs(panel, sequence)
    columns = dict(panel.drop(columns=market_columns(panel.columns)).items())
    features = {name: compute(inputs) for name, compute in FEATURES.items()}
    return pd.DataFrame(columns | features | _market_features(panel), index=panel.index, copy=False)


def _market_features(panel: pd.DataFrame) -> dict[str, np.ndarray]:
    features = {}
    for name in market_columns(panel.columns):
        measured = _measured(panel, name)
        if not np.isnan(measured).all():
            features[name] = measured
    return features


def _measured(panel: pd.DataFrame, name: str) -> np.ndarray:
    """A market feature with its sentinels missing."""
    values = panel[name].to_numpy(dtype=float)
    return np.where(sentinel_mask(name, values), np.nan, values)
