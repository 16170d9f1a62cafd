"""Which entries are pending, and when they are repaired."""

from collections.abc import Iterator

import pandas as pd
import psycopg
import pytest

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.quarantine import (
    ENTRY_COLUMNS,
    Filter,
    add,
    count_pending,
    mark_repaired,
    open_quarantine,
    pending_ids,
    select_entries,
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


def pending(connection: psycopg.Connection, *columns: str) -> list[tuple[object, ...]]:
    """Columns of the pending entries, newest first."""
    return [tuple(getattr(entry, column) for column in columns) for entry in select_entries(connection, Filter())]


def test_entries_are_stored_with_all_their_facts(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", None))
    assert pending(connection, *ENTRY_COLUMNS)[::-1] == [
        ("a.csv", TABLE, 2, "r1", "roi", "x", "no number", "{}"),
        ("a.csv", TABLE, 3, None, "roi", "x", "no number", "{}"),
    ]
    assert count_pending(connection) == 2
    assert pending_ids(connection) == ["r1"]


def test_entries_that_lack_a_column_are_refused_whole(connection: psycopg.Connection) -> None:
    with pytest.raises(InvalidInput, match=r"lack line, table_name and have unknown columns none; give source,"):
        add(connection, entries("r1").drop(columns=["table_name", "line"]))
    with pytest.raises(InvalidInput, match="lack nothing and have unknown columns position"):
        add(connection, entries("r1").assign(position=0))
    assert count_pending(connection) == 0


def test_a_repeated_bad_row_is_one_entry(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", "r2"))
    add(connection, entries("r2"))
    add(connection, pd.concat([entries("r2"), entries("r2")]))
    assert pending(connection, "row_id", "line") == [("r2", 2), ("r1", 2)]


def test_a_good_row_repairs_entries_of_its_id(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", "r2"))
    add(connection, entries("r1", table_name="public.ml_features"))
    assert mark_repaired(connection, "b.csv", ["r1", "r3"], TABLE) == 1
    assert sorted(pending(connection, "table_name")) == [(TABLE,), ("public.ml_features",)]
    assert pending_ids(connection, TABLE) == ["r2"]


def test_only_its_own_source_repairs_a_conflict_of_contents(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", column_name="id"))
    assert mark_repaired(connection, "b.csv", ["r1"], TABLE) == 0
    assert mark_repaired(connection, "a.csv", ["r1"], TABLE) == 1
    assert count_pending(connection) == 0


def test_a_repaired_entry_found_again_is_pending_again(connection: psycopg.Connection) -> None:
    add(connection, entries("r1"))
    mark_repaired(connection, "a.csv", ["r1"], TABLE)
    add(connection, entries("r1"))
    assert pending_ids(connection) == ["r1"]


def test_entries_found_in_a_table_name_it_once(connection: psycopg.Connection) -> None:
    add(connection, entries("r1", source=TABLE))
    assert mark_repaired(connection, TABLE, ["r1"]) == 1
