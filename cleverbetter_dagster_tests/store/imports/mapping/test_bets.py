"""Bets, a line each, become windows."""

from pathlib import Path
from typing import Any

import pytest

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.mapping.mapped_rows import MappedRows
from cleverbetter_dagster.store.imports.mapping.spec import ImportMapping
from cleverbetter_dagster.store.imports.readers.row_file import FileBatch

BETS = {"strategy": "who", "placed": "at", "profit": "pnl", "stake": "stake"}


def windows(tmp_path: Path, lines: list[str], **changes: Any) -> FileBatch:
    """The windows of a CSV file with these lines, with a capital of 100."""
    (path := tmp_path / "bets.csv").write_text("\n".join(["who,at,pnl,stake", *lines]))
    mapping = ImportMapping.model_validate({"bets": BETS | changes, "constants": {"initial_capital": 100}})
    rows = MappedRows(path, mapping)
    (batch,) = rows.batches(rows.names)
    return batch


def test_a_window_is_a_calendar_month_of_a_strategy(tmp_path: Path) -> None:
    lines = ["a,2023-01-31T23:59:59Z,1,5", "a,2023-02-01,2,5", "b,2023-01-15,3,5", "a,2023-01-01,-2,5"]
    batch = windows(tmp_path, lines)
    table = batch.table.to_pydict()
    assert table["strategy_id"] == ["a", "b", "a"]
    assert table["total_bets"] == [2, 1, 1]
    assert table["total_return"] == pytest.approx([-0.01, 0.03, 0.02])
    assert table["end_date"] == [f"2023-0{m}T23:59:59+00:00" for m in ("1-31", "1-31", "2-28")]
    assert batch.lines.tolist() == [5, 4, 3]  # of the first bet in time


def test_a_week_begins_on_monday(tmp_path: Path) -> None:
    table = windows(tmp_path, ["a,2023-01-08,1,5", "a,2023-01-09,1,5"], window="week").table.to_pydict()
    assert table["start_date"] == ["2023-01-02T00:00:00+00:00", "2023-01-09T00:00:00+00:00"]


def test_an_order_that_nobody_matched_is_no_bet(tmp_path: Path) -> None:
    assert windows(tmp_path, ["a,2023-01-08,0,0", "a,2023-01-09,1,5"]).table["total_bets"].to_pylist() == [1]


def test_the_drawdown_follows_the_order_of_time(tmp_path: Path) -> None:
    batch = windows(tmp_path, ["a,2023-01-03,20,5", "a,2023-01-01,-30,5", "a,2023-01-02,-10,5"])
    assert batch.table["max_drawdown"].to_pylist() == [0.4]


def test_a_window_with_an_unreadable_profit_has_no_return(tmp_path: Path) -> None:
    table = windows(tmp_path, ["a,2023-01-03,20,5", "a,2023-01-04,lots,5"]).table.to_pydict()
    assert (table["total_return"], table["total_bets"]) == ([None], [2])


def test_a_bet_without_a_date_is_a_malformed_line(tmp_path: Path) -> None:
    batch = windows(tmp_path, ["a,someday,20,5", "a,2023-01-04,1,5"])
    assert batch.malformed["line"].tolist() == [2]
    assert batch.table.num_rows == 1


def test_a_file_that_lacks_columns_of_bets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="lacks columns of bets: when, strategy_id"):
        windows(tmp_path, [], placed="when", strategy="")
