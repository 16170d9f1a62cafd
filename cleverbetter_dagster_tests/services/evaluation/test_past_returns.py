"""Past returns: by month and strategy, and never one that was not known yet."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster_tests.dataset.panels import example_row, frame

ROWS = [
    example_row(id="a1", strategy_id="a", start_day=0, end_day=20, roi=0.1),
    example_row(id="a2", strategy_id="a", start_day=20, end_day=30, roi=0.2),
    example_row(id="b1", strategy_id="b", start_day=10, end_day=25, roi=-0.3),
    example_row(id="b2", strategy_id="b", start_day=25, end_day=40, roi=0.4),
    example_row(id="c1", strategy_id="c", start_day=25, end_day=50, roi=0.5),
]


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return build_panel(frame(ROWS), None, DatasetSpec())


def known(panel: pd.DataFrame, day: int) -> list[list[float | None]]:
    past = PastReturns.of(panel)
    newest = panel.drop_duplicates("strategy_id", keep="last").sort_values("strategy_id")
    instant = np.datetime64("2021-01-01") + day
    table = past.known(instant, past.codes(newest))
    return [[None if np.isnan(value) else pytest.approx(value) for value in month] for month in table]


def test_returns_of_a_month_add_up(panel: pd.DataFrame) -> None:
    assert known(panel, 100) == [[0.3, -0.3, None], [None, 0.4, 0.5]]


def test_only_returns_known_at_the_instant_count(panel: pd.DataFrame) -> None:
    assert known(panel, 25) == [[0.1, -0.3, None]]
    assert known(panel, 24) == [[0.1, None, None]]
    assert known(panel, 0) == []


def test_a_strategy_that_the_panel_lacks_has_no_return(panel: pd.DataFrame) -> None:
    past = PastReturns.of(panel[panel["strategy_id"] != "c"])
    codes = past.codes(panel[panel["id"] == "c1"])
    assert codes.tolist() == [-1]
    assert past.known(np.datetime64("2022-01-01"), np.append(0, codes)).shape == (1, 2)
