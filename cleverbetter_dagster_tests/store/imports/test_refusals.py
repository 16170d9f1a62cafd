"""Rows that a type, a constraint or a trigger of the table forbids: each goes to quarantine alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import FileReport, import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.quarantine import Entry, Filter, open_quarantine, select_entries
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.support.upstream_rows import upstream_features, upstream_results


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    ensure_source_tables(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


def imported(settings: Settings, folder: Path, frame: pd.DataFrame, *, features: bool = False) -> FileReport:
    frame.to_parquet(path := folder / "rows.parquet")
    return import_files(settings, *((None, path) if features else (path, None))).files[0]


def counts(report: FileReport) -> tuple[int, int, int, int]:
    return report.inserted, report.updated, report.unchanged, report.quarantined


def pending(settings: Settings) -> list[Entry]:
    with open_quarantine(settings) as quarantine:
        return sorted(
            select_entries(quarantine, Filter()), key=lambda entry: (entry.line or 0, entry.column_name or "")
        )


VENUES = "CREATE TABLE venues (name text PRIMARY KEY); ALTER TABLE backtest_results ADD venue text REFERENCES venues"
TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.win_rate > 0.9 THEN RAISE 'no such luck'; END IF; RETURN NEW; END $$;
CREATE TRIGGER luck BEFORE INSERT ON backtest_results FOR EACH ROW EXECUTE FUNCTION refuse()"""


CAPITALS = {
    "initial_capital": "final_capital",
    "final_capital": "initial_capital",
    "total_return": "final_capital",
}
"""A value -> the capital that it would contradict."""


@pytest.mark.parametrize(
    ("ddl", "column", "value", "reason"),
    [
        ("", "total_bets", 1e20, "within -9223372036854775808..9223372036854775807"),
        ("ALTER TABLE backtest_results ALTER total_bets TYPE smallint", "total_bets", 32768, "within -32768..32767"),
        ("ALTER TABLE backtest_results ALTER initial_capital TYPE integer", "initial_capital", 0.5, "a whole number"),
        ("ALTER TABLE backtest_results ALTER total_return TYPE numeric(4, 2)", "total_return", 100.0, "less than 10^2"),
        ("ALTER TABLE backtest_results ALTER final_capital TYPE real", "final_capital", 1e39, "for type real"),
        ("ALTER TABLE backtest_results ALTER strategy_id TYPE varchar(2)", "strategy_id", "s10", "varying(2)"),
        ("CREATE TYPE advice AS ENUM ('ACCEPT'); ALTER TABLE backtest_results ALTER recommendation TYPE advice "
         "USING recommendation::advice", "recommendation", "BUY", "for enum advice"),
        ("CREATE DOMAIN share AS float8 CHECK (VALUE < 0.9); ALTER TABLE backtest_results ALTER win_rate TYPE share",
         "win_rate", 0.95, "for domain share"),
        ("ALTER TABLE backtest_results ADD venue uuid", "venue", "here", "input syntax for type uuid"),
        ("ALTER TABLE backtest_results ADD at timestamptz", "at", "now", "not a date"),
        ("ALTER TABLE backtest_results ADD at time", "at", "now", "word for a time"),
        ("ALTER TABLE backtest_results ADD span tstzrange", "span", "[now,)", "word for a time"),
    ],
)  # fmt: skip
def test_a_value_that_its_type_forbids_is_quarantined(
    database: Settings, connection: psycopg.Connection, tmp_path: Path, ddl: str, column: str, value: Any, reason: str
) -> None:
    connection.execute(ddl)
    frame = upstream_results(9)
    if column in CAPITALS:  # else the row would contradict itself
        frame[CAPITALS[column]] = np.nan
    good = {"venue": "00000000-0000-0000-0000-000000000001", "span": "empty", "at": "10:00"}.get(column)
    good = "2023-01-01 10:00" if column == "at" and "timestamptz" in ddl else good
    values = [good] * 9 if good else frame[column].tolist()
    frame = frame.assign(**{column: pd.Series([*values[:6], value, *values[7:]], dtype=object if good else None)})
    report = imported(database, tmp_path, frame)
    assert counts(report) == (8, 0, 0, 1)
    (entry,) = pending(database)
    assert (entry.line, entry.row_id, entry.column_name) == (7, "r7", column)
    assert float(entry.value or "") == value if isinstance(value, float) else entry.value == str(value)
    assert reason in entry.reason
    assert list(report.reasons) == [entry.reason]
    assert counts(imported(database, tmp_path, frame)) == (0, 0, 8, 1)


@pytest.mark.parametrize(
    ("ddl", "changed", "value", "reason"),
    [
        ("ALTER TABLE backtest_results ADD CHECK (win_rate < 0.9)", {"win_rate": 0.95}, "0.95",
         "CHECK ((win_rate < (0.9)::double precision))"),
        ("CREATE UNIQUE INDEX ON backtest_results (run_date)", {"run_date": pd.Timestamp("2023-07-01", tz="UTC")},
         "Key (run_date)=(2023-07-01 00:00:00+00) already exists.", "duplicate key"),
        (VENUES, {"venue": "Dapto"}, 'Key (venue)=(Dapto) is not present in table "venues".', "foreign key constraint"),
        (f"{VENUES} DEFERRABLE INITIALLY DEFERRED", {"venue": "Dapto"},
         'Key (venue)=(Dapto) is not present in table "venues".', "foreign key constraint"),
        (TRIGGER, {"win_rate": 0.95}, None, "no such luck"),
    ],
)  # fmt: skip
def test_a_row_that_the_table_forbids_is_quarantined(
    database: Settings,
    connection: psycopg.Connection,
    tmp_path: Path,
    ddl: str,
    changed: dict[str, Any],
    value: str | None,
    reason: str,
) -> None:
    connection.execute(ddl)
    frame = upstream_results(9)
    if "run_date" in changed:
        frame.loc[1, "run_date"] = changed["run_date"]
        frame.loc[1, "end_date"] = frame.loc[1, "start_date"]
    for column, bad in changed.items():
        frame[column] = [*(frame.get(column, pd.Series([None] * 9))[:6]), bad, *frame.get(column, [None] * 9)[7:]]
    assert counts(imported(database, tmp_path, frame)) == (8, 0, 0, 1)
    (entry,) = pending(database)
    assert (entry.line, entry.row_id, entry.value) == (7, "r7", value)
    assert entry.column_name == (None if "luck" in reason or "duplicate" in reason else next(iter(changed)))
    assert reason in entry.reason
    assert counts(imported(database, tmp_path, frame)) == (0, 0, 8, 1)


def test_equal_rows_are_refused_together(database: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    connection.execute("ALTER TABLE backtest_results ADD CHECK (win_rate < 0.9)")
    frame = upstream_results(3).assign(win_rate=[0.5, 0.95, 0.5])
    assert counts(imported(database, tmp_path, pd.concat([frame, frame]))) == (2, 0, 2, 2)
    assert [entry.line for entry in pending(database)] == [2]  # the same row again is the same entry


def test_a_refused_replacement_leaves_the_older_row(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    frame = upstream_features(3)
    imported(database, tmp_path, frame, features=True)
    connection.execute("ALTER TABLE ml_features ADD CHECK (NOT features ? 'x')")
    newer = frame.assign(computed_at=frame["computed_at"] + pd.Timedelta(hours=1), features='{"avg_odds": 9}')
    newer.loc[1, "features"] = '{"x": 1}'
    assert counts(imported(database, tmp_path, newer, features=True)) == (0, 2, 0, 1)
    stored = connection.execute("SELECT features->>'avg_odds' FROM ml_features ORDER BY backtest_result_id").fetchall()
    assert stored == [("9",), ("4.5",), ("9",)]


def test_every_row_may_be_refused(database: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    connection.execute("ALTER TABLE backtest_results ADD CHECK (win_rate < 0.1)")
    assert counts(imported(database, tmp_path, upstream_results(50))) == (0, 0, 0, 50)


def test_a_column_that_every_row_needs_is_named_at_once(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    connection.execute("ALTER TABLE backtest_results ADD venue text NOT NULL")
    with pytest.raises(ImportFileError, match=r"no column 'venue', which every row of public\.backtest_results needs"):
        imported(database, tmp_path, upstream_results())


def test_columns_that_the_database_writes_are_left_to_it(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    connection.execute("ALTER TABLE backtest_results ADD odd bool GENERATED ALWAYS AS (win_rate > 0.5) STORED")
    connection.execute("ALTER TABLE backtest_results ADD row_number int GENERATED ALWAYS AS IDENTITY")
    report = imported(database, tmp_path, upstream_results().assign(odd=True, row_number=[7, 8, 9]))
    assert (counts(report), report.ignored_columns) == ((3, 0, 0, 0), ("odd",))
    assert connection.execute("SELECT DISTINCT odd, min(row_number) FROM backtest_results GROUP BY 1").fetchall() == [
        (False, 7)
    ]
