"""From months to examples: gaps are refused, and the same rows always give the same examples."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.quality.left_out import LeftOut, NonNumeric, with_left_out
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError, NotEnoughRows
from cleverbetter_dagster.services.training import datasets
from cleverbetter_dagster.services.training.datasets import (
    Dataset,
    data_hash,
    plan_month,
    plan_split,
    rebuild,
    rebuild_each,
    rows_to_split,
    rows_until,
)
from cleverbetter_dagster.services.training.split_checks import SPLIT_CHECKS, bulk_share, late_labels, timeline
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.quarantine import ENTRY_COLUMNS, add, open_quarantine
from cleverbetter_dagster.store.source.tables import ensure_source_tables
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


# --- market features that few rows have


def by_month(rows: pd.DataFrame) -> dict[str, pa.Table]:
    """Rows as the store holds them: one table a month, without features that no row of the month has."""
    groups = rows.groupby(rows["end_date"].dt.strftime("%Y-%m"))
    return {
        str(month): pa.Table.from_pandas(group.dropna(axis="columns", how="all"), preserve_index=False)
        for month, group in groups
    }


@pytest.fixture(scope="module")
def sparse_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """`ml_common` in every third row, `ml_old` in early rows only, `ml_late` in rows after training, 60 rare ones."""
    known = rows.sort_values("end_date", ignore_index=True)
    known = known[known["end_date"] < AS_OF.end].reset_index(drop=True)
    number = pd.Series(range(len(known)))
    features = {
        "ml_common": number.where(number % 3 == 0),
        "ml_old": number.where(number < 200),
        "ml_late": number.where(number > 0.8 * len(known)),
        **{f"ml_runner_{n}": number.where(number == 50 * n) for n in range(60)},
    }
    return known.assign(**{name: values.astype(float) for name, values in features.items()})


KEPT = {"ml_common", "ml_old"}
SPEC = DatasetSpec(min_composite_score=None)


def test_a_feature_rare_in_training_rows_is_left_out(sparse_rows: pd.DataFrame) -> None:
    planned = plan_split(sparse_rows, AS_OF, SPEC)
    added = {name for name in sparse_rows if name in KEPT or name.startswith(("ml_runner", "ml_late"))}
    assert added & set(planned.parts.train.X) == added & set(planned.panel.columns) == KEPT
    assert planned.record.left_out.rare == 61  # ml_late, 60 runners
    assert planned.record.left_out.rare_examples[:2] == ("late", "runner_0")


def test_rows_after_training_choose_no_feature(sparse_rows: pd.DataFrame) -> None:
    planned = plan_split(sparse_rows, AS_OF, SPEC)
    later = sparse_rows["end_date"] >= pd.Timestamp(planned.record.split.validation_start)
    changed = sparse_rows.assign(ml_common=sparse_rows["ml_common"].mask(later), ml_runner_1=later.astype(float))
    changed.loc[~later, "ml_runner_1"] = float("nan")
    again = plan_split(changed, AS_OF, SPEC)
    assert again.record.market_features == planned.record.market_features


def test_many_features_give_the_same_split_as_few(
    sparse_rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    months = by_month(sparse_rows)
    planned = plan_split(rows_until(months, AS_OF), AS_OF, SPEC)
    monkeypatch.setattr(datasets, "MANY_FEATURES", 0)
    rows, left_out = rows_to_split(months, AS_OF, SPEC)
    assert "ml_runner_1" not in rows
    again = plan_split(rows, AS_OF, SPEC, left_out)
    assert again.record == planned.record
    (_, rebuilt), *_ = rebuild_each(Settings(home=tmp_path), months, {AS_OF.key: again.record})
    pd.testing.assert_frame_equal(rebuilt.parts.past.X, planned.parts.past.X)


def test_what_the_loads_left_out_is_in_the_record(sparse_rows: pd.DataFrame, tmp_path: Path) -> None:
    texts = LeftOut(non_numeric={"country": NonNumeric(values=7, example="AU")})
    store = ArtefactStore(str(tmp_path))
    months = {}
    for month, table in by_month(sparse_rows).items():
        store.write_table(f"{month}.parquet", with_left_out(table, texts))
        months[month] = store.read_tables([f"{month}.parquet"])
    _, left_out = rows_to_split(months, AS_OF, SPEC)
    assert left_out.non_numeric == {"country": NonNumeric(values=7 * len(months), example="AU")}


# --- categories


@pytest.fixture(scope="module")
def rows_of_countries(rows: pd.DataFrame) -> pd.DataFrame:
    """AU and NZ in turns; from 2023 on, after the train part, every third row is of IE."""
    known = rows[rows["end_date"] < AS_OF.end].sort_values("end_date", ignore_index=True)
    number = pd.Series(range(len(known)))
    country = pd.Series(["AU", "NZ"] * (len(known) // 2 + 1), dtype=object)[: len(known)]
    late = known["end_date"] >= pd.Timestamp("2023-01-01", tz="UTC")
    return known.assign(category_country=country.mask(late & (number % 3 == 0), "IE"))


def test_a_category_of_the_future_reaches_no_model(rows_of_countries: pd.DataFrame) -> None:
    planned = plan_split(rows_of_countries, AS_OF, SPEC)
    assert pd.Timestamp(planned.record.split.validation_start) < pd.Timestamp("2023-01-01", tz="UTC")
    assert planned.record.indicators == ["ml_country=AU", "ml_country=NZ"]
    X, country = planned.parts.test.X, planned.parts.test.frame["category_country"]
    assert {"ml_country=AU", "ml_country=NZ"} == {name for name in X if "country" in name}
    assert X.loc[country == "IE", ["ml_country=AU", "ml_country=NZ"]].isna().all(axis=None)
    assert (X.loc[country == "AU", ["ml_country=AU", "ml_country=NZ"]] == [1, 0]).all(axis=None)


def test_renaming_a_later_category_changes_no_training_row(rows_of_countries: pd.DataFrame) -> None:
    planned = plan_split(rows_of_countries, AS_OF, SPEC)
    renamed = rows_of_countries.replace({"category_country": {"IE": "ZA"}})
    again = plan_split(renamed, AS_OF, SPEC)
    pd.testing.assert_frame_equal(again.parts.train.X, planned.parts.train.X)
    assert again.record.data_hash != planned.record.data_hash


def test_categories_are_rebuilt_from_the_record(rows_of_countries: pd.DataFrame, tmp_path: Path) -> None:
    months = by_month(rows_of_countries)
    planned = plan_split(rows_until(months, AS_OF), AS_OF, SPEC)
    (_, rebuilt), *_ = rebuild_each(Settings(home=tmp_path), months, {AS_OF.key: planned.record})
    pd.testing.assert_frame_equal(rebuilt.parts.past.X, planned.parts.past.X)


def quarantine(settings: Settings, row_ids: list[str], reasons: list[str]) -> None:
    """Quarantine rows of the results table."""
    table = "public.backtest_results"
    entries = pd.DataFrame({"source": table, "table_name": table, "row_id": row_ids, "reason": reasons})
    with open_quarantine(settings) as connection:
        add(connection, entries.reindex(columns=list(ENTRY_COLUMNS)))


def test_too_few_rows_name_the_quarantine_and_its_reason(database: Settings) -> None:
    ensure_source_tables(database)
    reasons = ["win_rate must be within 0..1"] * 3 + ["roi is missing"]
    quarantine(database, ["a", "b", "c", "c"], reasons)
    with pytest.raises(
        NotEnoughRows, match=r"Load more history\. 3 of 3 rows of public\.backtest_results are in quara"
    ):
        plan_month(database, {"2023-06": empty_month()}, AS_OF, SPEC)
    with pytest.raises(NotEnoughRows, match=r"most frequent reason \(3 rows\): win_rate must be within 0\.\.1\. See"):
        plan_month(database, {"2023-06": empty_month()}, AS_OF, SPEC)


def test_the_check_of_enough_rows_names_the_quarantine(database: Settings, sparse_rows: pd.DataFrame) -> None:
    ensure_source_tables(database)
    quarantine(database, ["a"], ["roi is missing"])
    months, many = by_month(sparse_rows), SPEC.model_copy(update={"min_examples": 1_000_000})
    outcome = SPLIT_CHECKS[0].run(plan_month(database, months, AS_OF, many))
    assert f"1 of {len(sparse_rows) + 1:,} rows of public.backtest_results are in quarantine" in outcome.message
    assert "quarantine" not in SPLIT_CHECKS[0].run(plan_month(database, months, AS_OF, SPEC)).message
