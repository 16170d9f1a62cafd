"""The rule: rows that become known after a moment change nothing that was available then, to the last bit.

Available at T are the features of every row decided by T, every label known by T, and, at the end of an as_of month,
the whole panel, its split and its folds. The order in which rows are stored never matters.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.features import feature_columns
from cleverbetter_dagster.dataset.panel import build_panel, feature_frame
from cleverbetter_dagster.dataset.splits import Partition, split_examples, temporal_folds
from cleverbetter_dagster.errors import NotEnoughRows
from cleverbetter_dagster_tests.dataset.oracle import Row
from cleverbetter_dagster_tests.dataset.panels import EPOCH, DecisionTime, example_row, frame, row_lists, spec

moments = st.integers(1, 14).map(lambda days: pd.Timestamp(EPOCH) + pd.Timedelta(days=days))
decisions = st.sampled_from(["end_date", "run_date"])


def with_another_future(rows: list[Row], others: list[Row], decision: str, moment: pd.Timestamp) -> list[Row]:
    """The rows known by the moment, followed by rows of another history that are not."""
    known = [row for row in rows if row[decision] <= moment]
    return known + [{**row, "id": f"other-{row['id']}"} for row in others if row[decision] > moment]


def available(panel: pd.DataFrame, moment: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of the rows decided by the moment, and the outcomes known by it."""
    decided = panel[panel["decision_time"] <= moment].set_index("id")
    features = decided[feature_columns(decided)].dropna(axis="columns", how="all")
    known = decided[decided["label_time"] <= moment]
    return features, known[["label", "label_time", "next_start", "next_roi", "next_id"]]


def parts_of(panel: pd.DataFrame) -> Partition | None:
    try:
        return split_examples(panel, spec())
    except NotEnoughRows:
        return None


@settings(max_examples=30, deadline=None)
@given(row_lists(min_size=6), row_lists(), moments)
def test_later_rows_change_no_known_feature_or_label(rows: list[Row], others: list[Row], moment: pd.Timestamp) -> None:
    panel = build_panel(frame(rows), None, spec())
    changed = build_panel(frame(with_another_future(rows, others, "end_date", moment)), None, spec())
    for before, after in zip(available(panel, moment), available(changed, moment), strict=True):
        pd.testing.assert_frame_equal(before, after, check_exact=True)


def crowd(seed: int) -> list[Row]:
    """Twelve strategies, so many that they tell of each other, over eight windows that end at scattered hours."""
    rng = np.random.default_rng(seed)
    return [
        example_row(
            id=f"{strategy}-{window}",
            strategy_id=f"strategy-{strategy:02d}",
            start_date=EPOCH + timedelta(days=window),
            end_date=EPOCH + timedelta(days=window + 1, hours=int(rng.integers(0, 20))),
            roi=float(rng.normal(0.0, 0.2)),
            total_bets=float(rng.integers(0, 90)),
            ml_avg_odds=strategy + float(rng.random()),
        )
        for strategy in range(12)
        for window in range(8)
        if rng.random() < 0.8
    ]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(30, 200))
def test_what_others_do_later_changes_no_known_feature(seed: int, other: int, hours: int) -> None:
    rows, moment = crowd(seed), pd.Timestamp(EPOCH) + pd.Timedelta(hours=hours)
    later = [{**row, "roi": 10 * row["roi"], "ml_new": 1.0} for row in crowd(other) if row["end_date"] > moment]
    panel = build_panel(frame([{**row, "ml_new": None} for row in rows]), None, spec())
    known = [{**row, "ml_new": None} for row in rows if row["end_date"] <= moment]
    changed = build_panel(frame(known + [{**row, "id": f"other-{row['id']}"} for row in later]), None, spec())
    for before, after in zip(available(panel, moment), available(changed, moment), strict=True):
        pd.testing.assert_frame_equal(before, after, check_exact=True)


@settings(max_examples=30, deadline=None)
@given(row_lists(min_size=12, max_size=30, longest_days=2), row_lists(), moments, decisions)
def test_later_rows_change_nothing_of_an_as_of(
    rows: list[Row], others: list[Row], moment: pd.Timestamp, decision: DecisionTime
) -> None:
    end = moment + pd.Timedelta(microseconds=1)
    chosen = spec(decision_time=decision)
    panel = build_panel(frame(rows), end, chosen)
    changed = build_panel(frame(with_another_future(rows, others, decision, moment)), end, chosen)
    pd.testing.assert_frame_equal(panel, changed, check_exact=True)
    assert (panel["decision_time"] < end).all() and (panel["label_time"].dropna() < end).all()
    parts, changed_parts = parts_of(panel), parts_of(changed)
    assert (parts is None) == (changed_parts is None)
    if parts is not None and changed_parts is not None:
        assert parts.split == changed_parts.split


@settings(max_examples=16, deadline=None)
@given(row_lists(min_size=6), decisions, st.integers(0, 9))
def test_the_order_of_the_rows_changes_nothing(rows: list[Row], decision: DecisionTime, seed: int) -> None:
    stored, chosen = frame(rows), spec(decision_time=decision)
    shuffled = stored.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(
        build_panel(stored, None, chosen), build_panel(shuffled, None, chosen), check_exact=True
    )
    pd.testing.assert_frame_equal(
        feature_frame(stored, chosen), feature_frame(shuffled, chosen).loc[stored.index], check_exact=True
    )


@settings(max_examples=16, deadline=None)
@given(row_lists(min_size=16, max_size=30, longest_days=1), row_lists())
def test_later_rows_never_change_the_rows_fitted_on(rows: list[Row], others: list[Row]) -> None:
    panel = build_panel(frame(rows), None, spec())
    parts = parts_of(panel)
    if parts is None:
        return
    borders = (("train", parts.split.validation_start), ("validation", parts.split.test_start))
    for name, border in borders:
        fitted = getattr(parts, name).frame.set_index("id")
        changed = build_panel(frame(with_another_future(rows, others, "end_date", pd.Timestamp(border))), None, spec())
        columns = [*feature_columns(fitted), "label", "next_roi"]
        after = changed.set_index("id").reindex(index=fitted.index, columns=columns)
        pd.testing.assert_frame_equal(after, fitted[columns], check_exact=True)


@settings(max_examples=16, deadline=None)
@given(row_lists(min_size=12, max_size=30, longest_days=1), st.integers(1, 4))
def test_no_fold_is_fitted_on_anything_known_after_it_starts(rows: list[Row], n_folds: int) -> None:
    panel = build_panel(frame(rows), None, spec())
    examples = panel[panel["label"].notna()].reset_index(drop=True)
    try:
        folds = temporal_folds(examples["decision_time"], examples["label_time"], n_folds)
    except NotEnoughRows:
        return
    for fit, score in folds:
        start = examples["decision_time"].iloc[score].min()
        assert (examples["label_time"].iloc[fit] <= start).all()
        assert (examples["decision_time"].iloc[fit] < start).all()


@settings(max_examples=20, deadline=None)
@given(row_lists(min_size=6), st.data())
def test_the_quality_filter_touches_no_label_and_no_feature(rows: list[Row], data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.sampled_from([0.0, 0.9]), min_size=len(rows), max_size=len(rows)))
    rescored = [{**row, "composite_score": score} for row, score in zip(rows, scores, strict=True)]
    panel, changed = (
        build_panel(frame(each), None, spec(min_composite_score=minimum)).drop(columns="composite_score")
        for each, minimum in ((rows, None), (rescored, 0.5))
    )
    pd.testing.assert_frame_equal(panel, changed, check_exact=True)
