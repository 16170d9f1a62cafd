"""What waits for repair, and when it no longer does."""

from collections.abc import Iterator

import pandas as pd
import psycopg
import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.quarantine.table import (
    ENTRY_COLUMNS,
    add,
    count_pending,
    list_pending,
    mark_repaired,
    open_quarantine,
    pending_ids,
)

TABLE = "public.backtest_results"


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    with open_quarantine(database) as connection:
        yield connection


def entries(*row_ids: str | None, source: str = "a.csv", **same: object) -> pd.DataFrame:
    facts = {"column_name": "roi", "value": "x", "reason": "no number", "raw": "{}", "table_name": TABLE} | same
    frame = pd.DataFrame({"row_id": list(row_ids), "line": range(2, len(row_ids) + 2), "source": source})
    return frame.assign(**facts)[list(ENTRY_COLUMNS)]


def test_entries_are_kept_with_all_that_is_known(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", None))
    listed = list_pending(connection).sort_values("line")
    assert listed[list(ENTRY_COLUMNS)].astype(object).where(listed.notna(), None).to_numpy().tolist() == [
        ["a.csv", TABLE, 2, "r1", "roi", "x", "no number", "{}"],
        ["a.csv", TABLE, 3, None, "roi", "x", "no number", "{}"],
    ]
    assert count_pending(connection) == 2
    assert pending_ids(connection) == ["r1"]


def test_the_same_bad_row_again_is_the_same_entry_at_its_new_line(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", "r2"))
    add(connection, entries("r2"))
    add(connection, pd.concat([entries("r2"), entries("r2")]))
    assert list_pending(connection)[["row_id", "line"]].to_numpy().tolist() == [["r2", 2], ["r1", 2]]


def test_a_good_row_repairs_the_entries_of_its_id_and_table(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", "r2"))
    add(connection, entries("r1", table_name="public.ml_features"))
    assert mark_repaired(connection, "b.csv", ["r1", "r3"], TABLE) == 1
    assert sorted(list_pending(connection)["table_name"]) == [TABLE, "public.ml_features"]
    assert pending_ids(connection, TABLE) == ["r2"]


def test_a_conflict_of_contents_is_repaired_by_its_own_source_alone(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", column_name="id"))
    assert mark_repaired(connection, "b.csv", ["r1"], TABLE) == 0
    assert mark_repaired(connection, "a.csv", ["r1"], TABLE) == 1
    assert count_pending(connection) == 0


def test_an_entry_met_again_after_its_repair_is_pending_again(connection: psycopg.Connection) -> None:
    add(connection, entries("r1"))
    mark_repaired(connection, "a.csv", ["r1"], TABLE)
    add(connection, entries("r1"))
    assert pending_ids(connection) == ["r1"]


def test_entries_met_in_a_table_need_not_name_it_twice(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", source=TABLE).drop(columns="table_name"))
    assert mark_repaired(connection, TABLE, ["r1"]) == 1
