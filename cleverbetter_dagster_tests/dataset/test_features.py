"""Features contain only what was known at the decision time; an oracle computes each one the slow way."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.edges.next_window import EDGE_RETURN, EDGE_SHARPE, EDGE_STD
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.features import FEATURES, feature_columns
from cleverbetter_dagster.dataset.panel import build_panel, feature_frame
from cleverbetter_dagster.dataset.schema import METRICS
from cleverbetter_dagster_tests.dataset import oracle
from cleverbetter_dagster_tests.dataset.oracle import Row
from cleverbetter_dagster_tests.dataset.panels import DecisionTime, example_row, frame, row_lists, spec

EDGES = (EDGE_SHARPE, EDGE_RETURN, EDGE_STD)
"""Of all strategies together: `edges/test_edges.py` has oracles of them."""


def windows(*returns: float, bets: float = 100.0, **values: object) -> list[Row]:
    """One window of ten days for each return, one after another."""
    return [
        example_row(id=f"w{n}", start_day=10 * n, end_day=10 * n + 10, roi=roi, total_bets=bets, **values)
        for n, roi in enumerate(returns)
    ]


def panel_of(rows: list[Row]) -> pd.DataFrame:
    return build_panel(frame(rows), None, spec()).set_index("id")


def test_the_guides_six_metrics_are_features() -> None:
    assert set(METRICS) <= set(feature_columns(panel_of(windows(0.1))))


def test_last_k_means_include_the_row_itself() -> None:
    panel = panel_of(windows(0.1, 0.2, -0.3, 0.4))
    assert panel["mean_roi_3"].to_numpy() == pytest.approx([0.1, 0.15, 0.0, 0.1])
    assert panel["mean_roi"].to_numpy() == pytest.approx([0.1, 0.15, 0.0, 0.1])
    assert panel["profitable_share_3"].to_numpy() == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert panel["profit_streak"].tolist() == [1, 2, -1, 1]
    assert panel["windows_seen"].tolist() == [1, 2, 3, 4]


def test_rows_decided_at_one_moment_do_not_see_each_other() -> None:
    tied = [
        example_row(id="a", start_day=0, end_day=10, roi=0.1),
        example_row(id="b", start_day=5, end_day=20, roi=0.2),
        example_row(id="c", start_day=12, end_day=20, roi=0.6),
    ]
    panel = panel_of(tied)
    assert panel.loc["b", "mean_roi"] == pytest.approx((0.1 + 0.2) / 2)
    assert panel.loc["c", "mean_roi"] == pytest.approx((0.1 + 0.6) / 2)


def test_equal_returns_have_no_spread_at_all() -> None:
    panel = panel_of(windows(0.1, 0.1, 0.1, 0.1))
    assert panel["std_roi"].tolist() == [0.0] * 4


def test_return_per_bet_is_shrunk_toward_the_population() -> None:
    rows = [
        example_row(id="a", roi=0.3, total_bets=100.0),
        example_row(id="b", strategy_id="lure", roi=-0.1, total_bets=300.0),
    ]
    # The population earns 0.2 on 400 bets, 0.0005 a bet. Strategy a: (0.3 + 300 x 0.0005) / (100 + 300) x 100 bets.
    assert panel_of(rows).loc["a", "shrunk_return"] == pytest.approx(0.45 / 400 * 100)


def test_gain_and_loss_start_at_the_population_values() -> None:
    lone = panel_of(windows(0.1)).loc["w0"]
    assert lone["shrunk_gain"] == pytest.approx(0.1) and lone["shrunk_loss"] == 1.0
    rows = [example_row(id="a", roi=0.1), example_row(id="b", strategy_id="lure", roi=-0.04)]
    both = panel_of(rows).loc["a"]
    assert both["shrunk_gain"] == pytest.approx(0.1) and both["shrunk_loss"] == pytest.approx(0.04)


def test_a_sentinel_reaches_no_feature() -> None:
    rows = windows(0.1, profit_factor=999.0, sharpe_ratio=-999.0, ml_mc_profit_factor=999.0, ml_avg_odds=-999.0)
    rows += [example_row(id="m", strategy_id="lure", ml_mc_profit_factor=1.1, ml_avg_odds=999.0)]
    panel = panel_of(rows)
    features = panel[feature_columns(panel)]
    assert features.loc["w0"].abs().max() <= 100.0
    assert panel.loc["w0", ["profit_factor", "no_losing_bet", "sharpe_ratio"]].tolist() == [10.0, 1.0, -20.0]
    assert np.isnan(panel.loc["w0", ["ml_mc_profit_factor", "ml_avg_odds"]].astype(float)).all()
    assert panel.loc["m", "ml_avg_odds"] == 999.0


def test_an_unmeasured_market_feature_has_no_column() -> None:
    rows = windows(0.1, 0.2)
    rows[0] |= {"ml_new": None, "ml_never": None, "ml_old": 1.0}
    rows[1] |= {"ml_new": 2.0, "ml_never": None, "ml_old": None}
    before = build_panel(frame(rows), pd.Timestamp(rows[1]["end_date"]), spec())
    assert [name for name in feature_columns(before) if name.startswith("ml_")] == ["ml_old"]
    after = build_panel(frame(rows), None, spec())
    assert [name for name in feature_columns(after) if name.startswith("ml_")] == ["ml_new", "ml_old"]


def test_the_panel_has_each_feature_once() -> None:
    panel = panel_of(windows(0.1, 0.2, ml_avg_odds=2.0))
    assert feature_columns(panel) == [*FEATURES, "ml_avg_odds"]
    assert panel[feature_columns(panel)].dtypes.unique().tolist() == [np.dtype(float)]
    assert not panel.columns.has_duplicates


def test_a_feature_added_in_one_place_reaches_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "squared_roi", lambda of: of.roi**2)
    panel = panel_of(windows(0.1, -0.2, 0.3))
    assert "squared_roi" in feature_columns(panel)
    examples = Examples(panel[panel["label"].notna()])
    assert examples.X["squared_roi"].to_numpy() == pytest.approx([0.01, 0.04])


@settings(max_examples=40, deadline=None)
@given(row_lists(min_size=1), st.sampled_from(["end_date", "run_date"]))
def test_features_agree_with_the_oracle(rows: list[Row], decision: DecisionTime) -> None:
    panel = build_panel(frame(rows), None, spec(decision_time=decision)).set_index("id")
    latest = oracle.latest_runs(rows, decision, None)
    for row in latest:
        expected = oracle.features(row, latest, decision)
        computed = panel.loc[row["id"], list(FEATURES)].astype(float)
        assert {*expected, *EDGES} == set(computed.index)
        assert np.isfinite(computed).all()
        assert computed.drop([*EDGES]).to_dict() == pytest.approx(expected, rel=1e-6, abs=1e-7), row["id"]


@settings(max_examples=25, deadline=None)
@given(row_lists(min_size=1), st.sampled_from(["end_date", "run_date"]))
def test_raw_rows_keep_their_order_and_index(rows: list[Row], decision: DecisionTime) -> None:
    raw = frame(rows).sample(frac=1, random_state=1)
    features = feature_frame(raw, spec(decision_time=decision))
    panel = build_panel(raw, None, spec(decision_time=decision))
    assert features.index.equals(raw.index) and list(features) == feature_columns(panel)
    window = ["strategy_id", "method", "start_date", "end_date"]
    expected = raw[window].merge(panel, on=window, how="left")[feature_columns(panel)]
    pd.testing.assert_frame_equal(features.reset_index(drop=True), expected)
