"""Which rows pass the quality filter, can be examples, and belong to live strategies."""

import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.selection import is_usable, live_rows, passes_filter
from cleverbetter_dagster_tests.dataset.panels import example_row, frame, spec


@pytest.fixture
def panel() -> pd.DataFrame:
    """Windows of ten days: three of hare; one of lure, which ended 19 days before hare's last."""
    rows = [
        example_row(id="h1", start_day=0, end_day=10, composite_score=0.2),
        example_row(id="h2", start_day=10, end_day=20, composite_score=0.3),
        example_row(id="h3", start_day=20, end_day=30, composite_score=0.9),
        example_row(id="l1", strategy_id="lure", start_day=1, end_day=11, composite_score=0.9),
    ]
    return build_panel(frame(rows), None, spec())


def ids(panel: pd.DataFrame, mask: pd.Series) -> set[str]:
    return set(panel.loc[mask, "id"])


def test_a_score_at_the_minimum_passes_the_filter(panel: pd.DataFrame) -> None:
    assert ids(panel, passes_filter(panel, 0.3)) == {"h2", "h3", "l1"}


def test_no_minimum_takes_every_row(panel: pd.DataFrame) -> None:
    assert passes_filter(panel, None).all()


def test_only_labelled_rows_are_usable(panel: pd.DataFrame) -> None:
    assert ids(panel, is_usable(panel, None)) == {"h1", "h2"}
    assert ids(panel, is_usable(panel, 0.3)) == {"h2"}


def test_rows_decided_before_the_window_are_not_usable(panel: pd.DataFrame) -> None:
    start = panel.loc[panel["id"] == "h2", "decision_time"].iloc[0]
    assert ids(panel, is_usable(panel, None, start)) == {"h2"}
    assert ids(panel, is_usable(panel, None, start + pd.Timedelta(1, "s"))) == set()


def test_live_rows_are_the_newest_of_each_strategy(panel: pd.DataFrame) -> None:
    assert set(live_rows(panel, AsOf(2021, 1))["id"]) == {"h3", "l1"}


def test_a_strategy_is_live_for_62_days(panel: pd.DataFrame) -> None:
    # The end of March lies 59 days after hare's last decision on 31 January, and 78 after lure's on 12 January.
    assert set(live_rows(panel, AsOf(2021, 3))["id"]) == {"h3"}
    assert live_rows(panel, AsOf(2021, 4)).empty
