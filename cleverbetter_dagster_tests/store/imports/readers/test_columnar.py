"""Parquet and Arrow in batches of bounded size."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather
from pyarrow import parquet as pq

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.imports.readers.opening import open_rows

LONG = "x" * 1_000


def repeated(rows: int) -> pa.Table:
    """One long text, stored once and repeated in each row."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([LONG]))
    return pa.table({"id": pa.array(range(rows)), "text": texts})


def write_parquet(table: pa.Table, path: Path) -> Path:
    pq.write_table(table, path := path.with_suffix(".parquet"), store_schema=False)
    return path


def write_feather(table: pa.Table, path: Path) -> Path:
    feather.write_feather(table, str(path := path.with_suffix(".feather")))
    return path


@pytest.mark.parametrize("write", [write_parquet, write_feather])
def test_batches_are_bounded_by_their_unpacked_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    monkeypatch.setattr(row_file, "BATCH_BYTES", 100_000)
    path = write(repeated(2_000), tmp_path / "a")  # type: ignore[operator]
    assert path.stat().st_size < 100_000
    batches = list(open_rows(path).batches(["id", "text"]))
    assert max(batch.table.nbytes for batch in batches) < 2 * 100_000
    assert [line for batch in batches for line in batch.lines] == list(range(1, 2_001))
    assert {text for batch in batches for text in batch.table["text"].to_pylist()} == {LONG}


@pytest.mark.parametrize("write", [write_parquet, write_feather])
def test_a_column_that_is_not_wanted_is_not_read(tmp_path: Path, write: object) -> None:
    path = write(repeated(2_000), tmp_path / "a")  # type: ignore[operator]
    batches = list(open_rows(path).batches(["id"]))
    assert [batch.table.column_names for batch in batches] == [["id"]] * len(batches)
    assert sum(len(batch.lines) for batch in batches) == 2_000


def test_many_columns_make_batches_of_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "BATCH_BYTES", 80_000)
    path = write_parquet(pa.table({f"c{n}": np.zeros(300) for n in range(100)}), tmp_path / "a")
    assert max(len(batch.lines) for batch in open_rows(path).batches({f"c{n}" for n in range(100)})) <= 100


def test_the_sample_looks_on_until_a_column_has_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "BATCH_ROWS", 10)
    late = pa.array([None] * 99 + [7.5], pa.float64())
    path = write_parquet(pa.table({"id": range(100), "late": late, "never": pa.nulls(100, pa.int64())}), tmp_path / "a")
    sample = open_rows(path).sample()
    assert sample["late"].drop_null().to_pylist() == [7.5]
    assert sample["never"].null_count == len(sample)


def test_far_dates_of_spark_stay_far(tmp_path: Path) -> None:
    dates = [datetime(9999, 12, 31), datetime(2608, 1, 1), datetime(2023, 1, 1, 0, 0, 0, 5)]
    table = pa.table({"until": pa.array(dates, pa.timestamp("us"))})
    pq.write_table(table, path := tmp_path / "a.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
    (batch,) = open_rows(path).batches(["until"])
    assert batch.table["until"].to_pylist() == dates


@pytest.mark.parametrize("write", [write_parquet, write_feather])
def test_two_columns_of_one_name_are_named(tmp_path: Path, write: object) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["roi", "roi"])
    with pytest.raises(ImportFileError, match=r"several columns called roi\. Rename all but one"):
        open_rows(write(table, tmp_path / "a"))  # type: ignore[operator]
