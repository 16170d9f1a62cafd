"""From months to examples: gaps are refused, and the same rows always give the same examples."""

import pandas as pd
import pyarrow as pa
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.services.training.datasets import Dataset, data_hash, plan_split, rebuild, rows_until
from cleverbetter_dagster.services.training.split_checks import bulk_share, late_labels, timeline
from cleverbetter_dagster_tests.dataset.panels import rows_schema
from cleverbetter_dagster_tests.services.conftest import AS_OF


def empty_month(*market: str) -> pa.Table:
    return rows_schema(market).empty_table()


def test_months_after_as_of_are_left_out() -> None:
    months = {month: pa.table({"id": [month]}) for month in ("2023-01", "2023-02", "2023-03")}
    assert rows_until(months, AsOf.parse("2023-02"))["id"].tolist() == ["2023-01", "2023-02"]


def test_a_month_missing_in_between_is_named_with_the_remedy() -> None:
    months = {"2023-01": empty_month(), "2023-04": empty_month()}
    with pytest.raises(DataError, match=r"lacks 2 of the months up to 2023-04: 2023-02, 2023-03.*2023-02\.\.\.2023-03"):
        rows_until(months, AsOf.parse("2023-04"))


def test_as_of_itself_must_be_there() -> None:
    with pytest.raises(DataError, match="lacks 1 of the months up to 2023-02"):
        rows_until({"2023-01": empty_month()}, AsOf.parse("2023-02"))


def test_an_empty_month_is_valid() -> None:
    months = {"2023-01": empty_month(), "2023-02": empty_month("ml_new")}
    assert list(rows_until(months, AsOf.parse("2023-02"))["ml_new"]) == []


def test_the_split_is_rebuilt_to_the_same_examples(rows: pd.DataFrame, dataset: Dataset) -> None:
    again = rebuild(rows.sample(frac=1.0, random_state=1), dataset.record)
    for part in ("train", "validation", "test"):
        pd.testing.assert_frame_equal(getattr(again.parts, part).X, getattr(dataset.parts, part).X)


def test_rows_that_changed_since_the_split_are_refused(rows: pd.DataFrame, dataset: Dataset) -> None:
    changed = rows.copy()
    changed.loc[changed.index[5], "roi"] += 0.01
    with pytest.raises(DataError, match="changed since their split was made"):
        rebuild(changed, dataset.record)


def test_the_hash_sees_every_value_and_no_order(rows: pd.DataFrame) -> None:
    few = rows.iloc[::150]
    assert data_hash(few.sample(frac=1.0, random_state=3)) == data_hash(few)
    for column in ("roi", "strategy_id", "end_date", "ml_avg_odds"):
        other = few.copy()
        other[column] = other[column].to_numpy()[::-1]
        assert data_hash(other) != data_hash(few), column


def test_no_label_is_late_and_a_planted_one_is_counted(dataset: Dataset) -> None:
    assert late_labels(dataset) == 0
    frame = dataset.parts.train.frame
    before = frame["label_time"].iloc[0]
    frame.loc[frame.index[0], "label_time"] = dataset.parts.validation.decision_time.min() + pd.Timedelta(seconds=1)
    try:
        assert late_labels(dataset) == 1
    finally:
        frame.loc[frame.index[0], "label_time"] = before


def test_the_timeline_counts_every_example_once(dataset: Dataset) -> None:
    split, counts = dataset.record.split, timeline(dataset).sum()
    assert counts["train"] == split.train.rows
    assert counts["validation"] == split.validation.rows
    assert counts["test"] == split.test.rows
    assert counts["purged"] == split.purged_rows


def test_a_history_backtested_in_bulk_is_noticed(rows: pd.DataFrame) -> None:
    spec = DatasetSpec(min_composite_score=None)
    assert bulk_share(plan_split(rows, AS_OF, spec).panel) == 0.0
    bulk = rows.assign(run_date=AS_OF.start)
    assert bulk_share(plan_split(bulk, AS_OF, spec).panel) > 0.9
