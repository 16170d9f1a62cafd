import numpy as np
import pandas as pd

from cleverbetter_dagster.evaluation.charts.chart import svg
from cleverbetter_dagster.evaluation.charts.money import bankroll_chart
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster_tests.evaluation.scored import scored_rows


def test_decision_times_within_a_month_are_drawn_too() -> None:
    weekly = pd.DatetimeIndex(pd.date_range("2022-01-01", periods=10, freq="7D", tz="UTC"))
    rows = scored_rows(np.linspace(0.1, 0.9, 10), [0, 1] * 5, stake=np.full(10, 0.1), months=weekly)
    drawn = svg(bankroll_chart({"weekly": allocation_of(rows)}), "c")
    # The untouched bankroll, then one point a decision, the last a week after the last decision.
    assert drawn.count("weekly, 2022-") == 11
    assert "weekly, 2022-03-12" in drawn
