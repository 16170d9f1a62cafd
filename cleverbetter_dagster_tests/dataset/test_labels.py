"""The outcome of a row is its strategy's next window, chosen by when it becomes known."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster_tests.dataset import oracle
from cleverbetter_dagster_tests.dataset.oracle import Row
from cleverbetter_dagster_tests.dataset.panels import DecisionTime, example_row, frame, row_lists, spec


def labels(*rows: Row, **options: object) -> pd.DataFrame:
    return build_panel(frame(list(rows)), None, spec(**options)).set_index("id")


def test_a_label_is_one_only_above_the_threshold() -> None:
    rows = [
        example_row(id="a", start_day=0, end_day=10),
        example_row(id="b", start_day=10, end_day=20, roi=0.05),
        example_row(id="c", start_day=20, end_day=30, roi=0.06),
    ]
    panel = labels(*rows, return_threshold=0.05)
    assert panel.loc[["a", "b"], "label"].tolist() == [0.0, 1.0]
    assert panel.loc[["a", "b"], "next_roi"].tolist() == [0.05, 0.06]
    assert panel.loc[["a", "b"], "next_id"].tolist() == ["b", "c"]
    assert panel.loc["a", ["next_start", "label_time"]].tolist() == [rows[1]["start_date"], rows[1]["end_date"]]


def test_a_row_without_a_next_window_is_unlabelled_not_zero() -> None:
    panel = labels(example_row(id="a"))
    assert pd.isna(panel.loc["a", "label"]) and pd.isna(panel.loc["a", "label_time"])
    assert pd.isna(panel.loc["a", "next_roi"]) and panel.loc["a", "next_id"] is None


def test_a_window_that_overlaps_this_one_is_not_the_next() -> None:
    panel = labels(
        example_row(id="a", start_day=0, end_day=10),
        example_row(id="overlaps", start_day=9, end_day=19),
        example_row(id="follows", start_day=12, end_day=25),
    )
    assert panel.loc["a", "next_id"] == "follows"


def test_the_next_window_is_the_one_known_first() -> None:
    panel = labels(
        example_row(id="a", start_day=0, end_day=10),
        example_row(id="starts_first", start_day=10, end_day=40),
        example_row(id="known_first", start_day=15, end_day=20),
    )
    assert panel.loc["a", "next_id"] == "known_first"


@pytest.mark.parametrize("other", [{"strategy_id": "lure"}, {"method": "monte_carlo"}])
def test_another_strategy_or_method_is_never_the_next_window(other: dict[str, str]) -> None:
    panel = labels(example_row(id="a"), example_row(id="b", start_day=10, end_day=20, **other))
    assert panel["label"].isna().all()


def test_a_zero_length_window_is_not_the_next() -> None:
    panel = labels(
        example_row(id="a", start_day=0, end_day=10),
        example_row(id="instant", start_day=10, end_day=10),
        example_row(id="b", start_day=10, end_day=20),
    )
    assert panel.loc[["a", "instant"], "next_id"].tolist() == ["b", "b"]


def test_an_overlap_of_one_microsecond_is_no_next_window() -> None:
    end = example_row()["end_date"] + pd.Timedelta(microseconds=1)
    panel = labels(example_row(id="a"), example_row(id="b", start_date=end, end_day=20))
    assert panel.loc["a", "next_id"] == "b"
    panel = labels(example_row(id="a", end_date=end), example_row(id="b", start_day=10, end_day=20))
    assert panel.loc["a", "next_id"] is None


def test_an_outcome_known_before_the_decision_is_no_label() -> None:
    rows = [
        example_row(id="a", start_day=0, end_day=10, run_day=50),
        example_row(id="b", start_day=10, end_day=20, run_day=50),
        example_row(id="c", start_day=20, end_day=30, run_day=60),
    ]
    panel = labels(*rows, decision_time="run_date")
    assert panel["next_id"].to_dict() == {"a": None, "b": "c", "c": None}
    assert panel["label"].notna().to_dict() == {"a": False, "b": True, "c": False}
    assert labels(*rows)["next_id"].to_dict() == {"a": "b", "b": "c", "c": None}


@settings(max_examples=40, deadline=None)
@given(row_lists(), st.sampled_from(["end_date", "run_date"]))
def test_labels_agree_with_the_oracle_on_random_rows(rows: list[Row], decision: DecisionTime) -> None:
    panel = build_panel(frame(rows), None, spec(decision_time=decision)).set_index("id")
    latest = oracle.latest_runs(rows, decision, None)
    assert panel.index.tolist() == [row["id"] for row in latest]
    for row in latest:
        expected = oracle.next_window(row, latest, decision)
        labelled = panel.loc[row["id"]]
        if expected is None:
            assert pd.isna(labelled["label"]) and pd.isna(labelled["label_time"]) and labelled["next_id"] is None
        else:
            assert labelled["next_id"] == expected["id"]
            assert labelled["label_time"] == expected[decision] and labelled["label_time"] > labelled["decision_time"]
            assert labelled["next_roi"] == expected["roi"]
            assert labelled["label"] == float(expected["roi"] > 0)
