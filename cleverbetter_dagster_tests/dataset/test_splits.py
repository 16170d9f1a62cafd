"""Parts and folds never separate rows of one time, and labels of fitted rows were known when the next part started."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import PARTS, TemporalSplit, apply_split, split_examples, temporal_folds
from cleverbetter_dagster.errors import NotEnoughRows
from cleverbetter_dagster_tests.dataset import oracle
from cleverbetter_dagster_tests.dataset.oracle import Row
from cleverbetter_dagster_tests.dataset.panels import EPOCH, example_row, frame, row_lists, spec


def day(number: float) -> pd.Timestamp:
    return pd.Timestamp(EPOCH) + pd.Timedelta(days=number)


def months(count: int, strategy: str = "hare", first: int = 0, **values: object) -> list[Row]:
    """Windows of one day, one after another: window n is decided on day n + 1 and labelled on day n + 2."""
    return [
        example_row(id=f"{strategy}-{n}", strategy_id=strategy, start_day=n, end_day=n + 1, **values)
        for n in range(first, first + count)
    ]


def panel_of(rows: list[Row]) -> pd.DataFrame:
    return build_panel(frame(rows), None, spec())


def test_ten_decision_times_are_cut_six_two_two() -> None:
    parts = split_examples(panel_of(months(11)), spec())
    assert parts.train.ids.tolist() == [f"hare-{n}" for n in range(6)]
    assert parts.validation.ids.tolist() == ["hare-6", "hare-7"]
    assert parts.test.ids.tolist() == ["hare-8", "hare-9"]
    assert parts.split.validation_start == day(7) and parts.split.test_start == day(9)
    assert parts.split.unlabelled_rows == 1 and parts.split.purged_rows == 0


def test_a_label_known_after_the_next_part_starts_is_purged() -> None:
    rows = [
        *months(11),
        example_row(id="in_time", strategy_id="lure", start_day=2, end_day=3),
        example_row(id="in_time_next", strategy_id="lure", start_day=3, end_day=6),
        example_row(id="late", strategy_id="trap", start_day=2, end_day=3),
        example_row(id="late_next", strategy_id="trap", start_day=3, end_day=6.5),
    ]
    parts = split_examples(panel_of(rows), spec())
    assert parts.split.validation_start == day(6)
    assert "in_time" in set(parts.train.ids) and "late" not in set(parts.train.ids)
    assert parts.split.train.purged == 1 and parts.split.train.rows == 6


def test_an_embargo_widens_the_gap_on_both_borders() -> None:
    parts = split_examples(panel_of(months(11)), spec(embargo_days=1))
    assert parts.train.ids.tolist() == [f"hare-{n}" for n in range(5)]
    assert parts.validation.ids.tolist() == ["hare-6"]
    assert parts.test.ids.tolist() == ["hare-8", "hare-9"]
    assert (parts.split.train.purged, parts.split.validation.purged, parts.split.test.purged) == (1, 1, 0)


def test_the_quality_filter_chooses_examples_and_is_counted() -> None:
    rows = months(11, composite_score=0.3) + months(11, "lure", composite_score=0.29)
    parts = split_examples(panel_of(rows), spec(min_composite_score=0.3))
    assert parts.split.filtered_rows == 10 and parts.split.usable_rows == 10
    assert not any(parts.train.ids.str.startswith("lure"))


def test_a_rolling_window_limits_examples_but_not_histories() -> None:
    rows = months(120)  # decided at midnights from 2 January to 1 May; that of the 1st belongs to the month before
    panel = panel_of(rows)
    parts = split_examples(panel, spec(max_history_months=3))
    used = pd.concat([parts.train.decision_time, parts.validation.decision_time, parts.test.decision_time])
    assert panel["decision_time"].max() == pd.Timestamp("2021-05-01", tz="UTC")
    assert parts.split.examples_from == pd.Timestamp("2021-02-01 13:00", tz="UTC")
    assert used.min() == pd.Timestamp("2021-02-02", tz="UTC")
    # In January 31; in February, March and April 28, 31 and 30, of which the last has no label.
    assert parts.split.usable_rows == 28 + 31 + 29 and parts.split.filtered_rows == 31
    assert parts.train.X["windows_seen"].min() == 31 + 1


def test_a_stored_rolling_split_stays_where_it_was_cut() -> None:
    split = split_examples(panel_of(months(120)), spec(max_history_months=3)).split
    again = TemporalSplit.model_validate_json(split.model_dump_json())
    later = apply_split(panel_of(months(150)), again)
    assert later.train.decision_time.min() == split.train.first_decision
    assert later.split.train == split.train and later.split.validation == split.validation


def test_a_split_has_counts_and_dates() -> None:
    split = split_examples(panel_of(months(11, roi=0.1)), spec()).split
    assert (split.train.rows, split.train.positives) == (6, 6)
    assert (split.train.first_decision, split.train.last_decision, split.train.last_label) == (day(1), day(6), day(7))
    assert (split.test.first_decision, split.test.last_decision, split.test.last_label) == (day(9), day(10), day(11))


def test_a_stored_split_gives_the_same_parts_again() -> None:
    panel = panel_of(months(30) + months(25, "lure", first=3))
    parts = split_examples(panel, spec(embargo_days=0.5, min_composite_score=0.2))
    again = apply_split(panel, TemporalSplit.model_validate_json(parts.split.model_dump_json()))
    assert again.split == parts.split
    for name in PARTS:
        pd.testing.assert_frame_equal(getattr(again, name).frame, getattr(parts, name).frame)


def test_a_stored_split_keeps_its_borders_with_more_rows() -> None:
    split = split_examples(panel_of(months(11)), spec()).split
    later = apply_split(panel_of(months(15)), split)
    assert later.split.test_start == split.test_start
    assert later.train.ids.tolist() == [f"hare-{n}" for n in range(6)] and later.split.test.rows == 6


def test_too_few_decision_times_are_refused_with_both_numbers() -> None:
    with pytest.raises(NotEnoughRows, match=r"2 distinct decision times among 2 examples, at least 3 needed"):
        split_examples(panel_of(months(3)), spec())
    with pytest.raises(NotEnoughRows, match=r"0 distinct decision times"):
        split_examples(panel_of([]), spec())


def test_a_part_emptied_by_the_embargo_is_refused() -> None:
    with pytest.raises(NotEnoughRows, match=r"train part is empty: of 6 rows"):
        split_examples(panel_of(months(11)), spec(embargo_days=50))


@pytest.mark.parametrize(
    "values",
    [
        {"train_fraction": 0.8, "validation_fraction": 0.2},
        {"train_fraction": 0.0},
        {"embargo_days": -1},
        {"min_examples": 0},
        {"return_threshold": float("nan")},
        {"decision_time": "created_at"},
        {"minimum": 3},
    ],
)
def test_an_impossible_spec_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DatasetSpec(**values)


def test_folds_expand_and_only_look_forward() -> None:
    decided = pd.Series([day(n) for n in range(6)])
    folds = temporal_folds(decided, decided + pd.Timedelta(days=1), 2)
    assert [(fit.tolist(), score.tolist()) for fit, score in folds] == [([0, 1], [2, 3]), ([0, 1, 2, 3], [4, 5])]


def test_folds_never_separate_rows_of_one_time() -> None:
    decided = pd.Series([day(n) for n in (2, 0, 1, 0, 2, 1)])
    folds = temporal_folds(decided, decided + pd.Timedelta(days=1), 2)
    assert [(fit.tolist(), score.tolist()) for fit, score in folds] == [([1, 3], [2, 5]), ([1, 2, 3, 5], [0, 4])]


def test_folds_leave_out_labels_not_known_when_the_fold_starts() -> None:
    decided = pd.Series([day(n) for n in range(4)])
    labelled = pd.Series([day(3), day(2), day(3), day(4)])
    folds = temporal_folds(decided, labelled, 1)
    assert [(fit.tolist(), score.tolist()) for fit, score in folds] == [([1], [2, 3])]
    with pytest.raises(NotEnoughRows, match="0 rows to fit on: none of the 2"):
        temporal_folds(decided, labelled, 1, embargo=pd.Timedelta(days=1))


def test_too_few_times_for_the_folds_are_refused() -> None:
    decided = pd.Series([day(0), day(1), day(1)])
    with pytest.raises(
        NotEnoughRows, match=r"2 distinct decision times among 3 examples, at least 4 needed for 3 folds"
    ):
        temporal_folds(decided, decided + pd.Timedelta(days=1), 3)
    with pytest.raises(NotEnoughRows, match="0 folds"):
        temporal_folds(decided, decided, 0)


_specs = st.builds(
    spec,
    decision_time=st.sampled_from(["end_date", "run_date"]),
    embargo_days=st.sampled_from([0.0, 0.0, 1.0]),
    min_composite_score=st.sampled_from([None, 0.3]),
    train_fraction=st.sampled_from([0.6, 0.3]),
)


@settings(max_examples=40, deadline=None)
@given(row_lists(min_size=20, max_size=35, longest_days=1), _specs)
def test_parts_agree_with_the_oracle(rows: list[Row], chosen: DatasetSpec) -> None:
    panel = build_panel(frame(rows), None, chosen)
    minimum = chosen.min_composite_score
    usable = panel[panel["label"].notna() & (panel["composite_score"] >= (minimum or 0))]
    times = usable["decision_time"].tolist()
    if len(set(times)) < 3:
        with pytest.raises(NotEnoughRows):
            split_examples(panel, chosen)
        return
    first, second = oracle.cut_times(times, [chosen.train_fraction, chosen.train_fraction + 0.2])
    embargo = pd.Timedelta(days=chosen.embargo_days)
    expected: dict[str, list[str]] = {name: [] for name in PARTS}
    for row in usable.itertuples():
        if row.decision_time < first and row.label_time + embargo <= first:
            expected["train"].append(row.id)
        elif first <= row.decision_time < second and row.label_time + embargo <= second:
            expected["validation"].append(row.id)
        elif row.decision_time >= second:
            expected["test"].append(row.id)
    if not all(expected.values()):
        with pytest.raises(NotEnoughRows):
            split_examples(panel, chosen)
        return
    parts = split_examples(panel, chosen)
    assert {name: getattr(parts, name).ids.tolist() for name in PARTS} == expected
    assert parts.split.usable_rows + parts.split.purged_rows == len(usable)
    assert parts.split.usable_rows + parts.split.purged_rows + parts.split.filtered_rows == panel["label"].notna().sum()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), min_size=1, max_size=30),
    st.integers(1, 5),
    st.sampled_from([0, 1]),
)
def test_folds_agree_with_the_oracle_and_purge_holds_in_each(
    examples: list[tuple[int, int]], n_folds: int, embargo_days: int
) -> None:
    decided, labelled = [day(t) for t, _ in examples], [day(t + wait) for t, wait in examples]
    embargo = pd.Timedelta(days=embargo_days)

    def folds() -> list[tuple[np.ndarray, np.ndarray]]:
        return temporal_folds(pd.Series(decided), pd.Series(labelled), n_folds, embargo)

    if len(set(decided)) < n_folds + 1:
        with pytest.raises(NotEnoughRows):
            folds()
        return
    starts = oracle.cut_times(decided, [fold / (n_folds + 1) for fold in range(1, n_folds + 1)])
    expected = []
    for start, end in zip(starts, [*starts[1:], day(99)], strict=True):
        fit = [n for n, t in enumerate(decided) if t < start and labelled[n] + embargo <= start]
        expected.append((fit, [n for n, t in enumerate(decided) if start <= t < end]))
    if not all(fit for fit, _ in expected):
        with pytest.raises(NotEnoughRows):
            folds()
        return
    assert [(fit.tolist(), score.tolist()) for fit, score in folds()] == expected
