"""Files in other units than fractions, and ratios without a value, from the file to the rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from cleverbetter_dagster.errors import RowsRefused
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.file_units import FileUnits
from cleverbetter_dagster.store.imports.importer import FileForm, FileReport, import_files
from cleverbetter_dagster.store.postgres.giving_way import read_session
from cleverbetter_dagster.store.quarantine import Filter, open_quarantine, select_entries
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_rows
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster_tests.store.imports.test_importer import NOW, connection, csv, import_results, parquet
from cleverbetter_dagster_tests.support.upstream_rows import upstream_results

__all__ = ["connection"]  # a fixture

RETURNS = np.array([0.064, -0.031, 0.0, 0.2, -0.005, 0.0123])
WIN_RATES = [0.35, 0.42, 0.0, 0.5, 0.375, 0.07]


def fractions() -> pd.DataFrame:
    return upstream_results(6).assign(
        total_return=RETURNS, final_capital=(1000 * (1 + RETURNS)).round(2), win_rate=WIN_RATES, max_drawdown=0.07
    )


def in_percent(*columns: str) -> pd.DataFrame:
    frame = fractions()
    return frame.assign(**{column: (frame[column] * 100).round(6) for column in columns})


def import_with(settings: Settings, path: Path, units: FileUnits) -> FileReport:
    return import_files(settings, path, None, form=FileForm(units=units)).files[0]


def rows(settings: Settings) -> pd.DataFrame:
    with read_session(settings) as session:
        table, _ = load_rows(session, RowQuery(resolve_source(settings)), NOW)
    return table.sort_by("id").to_pandas()


def quarantined(settings: Settings) -> list[str | None]:
    with open_quarantine(settings) as opened:
        return [entry.column_name for entry in select_entries(opened, Filter())]


def test_a_file_in_per_cent_is_refused_with_its_evidence(database: Settings, tmp_path: Path) -> None:
    path = csv(in_percent("total_return", "win_rate"), tmp_path / "r")
    with pytest.raises(RowsRefused) as raised:
        import_results(database, path)
    assert str(raised.value).splitlines() == [
        f"{path} was not imported, since it is in other units than the rows:",
        "  total_return is in per cent: 5 of 5 rows contradict their own capital by the factor 100, such as 6.4 in row "
        "r1, where 1000 became 1064, which is 0.064",
        "  win_rate is in per cent: 5 of 5 rows are above 1, such as 35 in row r1",
        "Import it with --percent-column total_return --percent-column win_rate, which converts it (--percent: every "
        "column in per cent); or write fractions without a minus sign, 0.05 for 5 %.",
        "Nothing of the file was loaded, and nothing of it is in quarantine.",
    ]
    assert rows(database).empty
    assert quarantined(database) == []


@pytest.mark.parametrize("write", [csv, parquet])
@pytest.mark.parametrize(
    "columns", [("total_return",), ("total_return", "win_rate"), ("total_return", "win_rate", "max_drawdown")]
)
def test_converted_rows_are_those_of_the_file_in_fractions(
    database: Settings, tmp_path: Path, write: type, columns: tuple[str, ...]
) -> None:
    report = import_with(database, write(in_percent(*columns), tmp_path / "r"), FileUnits(percent=True))
    assert (report.inserted, report.converted_columns) == (6, columns)
    assert rows(database)["roi"].tolist() == RETURNS.tolist()
    assert rows(database)["win_rate"].tolist() == WIN_RATES
    assert import_results(database, write(fractions(), tmp_path / "f")).unchanged == 6  # to the last bit


def test_columns_are_converted_by_name(database: Settings, tmp_path: Path) -> None:
    path = csv(in_percent("win_rate", "max_drawdown").assign(max_drawdown=-7.0), tmp_path / "r")
    units = FileUnits(percent_columns=("win_rate", "max_drawdown"), negative_drawdown=True)
    assert import_with(database, path, units).inserted == 6
    assert rows(database)["max_drawdown"].tolist() == [0.07] * 6
    assert rows(database)["roi"].tolist() == RETURNS.tolist()


@pytest.mark.parametrize(
    ("units", "complaint"),
    [
        (FileUnits(percent=True), "Fractions: total_return, win_rate, max_drawdown; may be either: none"),
        (FileUnits(percent_columns=("roi",)), "total_return is something else: 4 of 4 rows contradict"),
        (FileUnits(percent_columns=("win_rate",)), "win_rate was a fraction already: none is above 0.005 now"),
        (FileUnits(negative_drawdown=True), "max_drawdown has a minus sign: 6 of 6 rows"),
    ],
)
def test_fractions_are_not_converted_again(
    database: Settings, tmp_path: Path, units: FileUnits, complaint: str
) -> None:
    with pytest.raises(RowsRefused, match=complaint):
        import_with(database, csv(fractions(), tmp_path / "r"), units)
    assert rows(database).empty


def test_one_row_in_per_cent_goes_to_quarantine_alone(database: Settings, tmp_path: Path) -> None:
    frame = fractions()
    frame.loc[0, "total_return"] = 6.4
    assert import_results(database, csv(frame, tmp_path / "r")).inserted == 5
    assert quarantined(database) == ["total_return"]


def test_a_quarantined_row_is_kept_in_converted_units(database: Settings, tmp_path: Path) -> None:
    frame = in_percent("total_return")
    frame.loc[0, "win_rate"] = 1.5
    assert import_with(database, csv(frame, tmp_path / "r"), FileUnits(percent_columns=("total_return",))).inserted == 5
    with open_quarantine(database) as opened:
        (entry,) = select_entries(opened, Filter())
    assert '"total_return":"0.064"' in str(entry.raw)


def test_columns_of_a_file_may_only_be_compared(database: Settings, tmp_path: Path) -> None:
    frame = fractions().assign(total_bets=40, win_rate=0.375, winning_bets=[15, 15, 15, 2, 15, 15])
    report = import_results(database, csv(frame, tmp_path / "r"))
    assert (report.inserted, report.ignored_columns) == (5, ("winning_bets",))
    assert quarantined(database) == ["win_rate"]


SPECIAL = ["inf", "-inf", "nan", "", "999", "-100"]


@pytest.mark.parametrize("numeric", [False, True])
def test_ratios_without_a_value_are_loaded_and_named(
    database: Settings, connection: psycopg.Connection, tmp_path: Path, numeric: bool
) -> None:
    import_results(database, csv(upstream_results(0), tmp_path / "empty"))
    if numeric:
        for column in ("profit_factor", "sharpe_ratio"):
            connection.execute(f"ALTER TABLE backtest_results ALTER {column} TYPE numeric(12, 4)")
    path = csv(upstream_results(6).assign(profit_factor=SPECIAL, sharpe_ratio=SPECIAL), tmp_path / "r")
    assert import_results(database, path).inserted == 6
    loaded = rows(database)
    missing = np.nan
    assert loaded["profit_factor"].tolist() == pytest.approx([999, 999, missing, missing, 999, 999], nan_ok=True)
    assert loaded["sharpe_ratio"].tolist() == pytest.approx([999, -999, missing, missing, 999, missing], nan_ok=True)
    assert import_results(database, path).unchanged == 6


def test_a_window_without_bets_needs_no_ratios(database: Settings, tmp_path: Path) -> None:
    undefined = ("total_return", "sharpe_ratio", "max_drawdown", "win_rate", "profit_factor", "composite_score")
    frame = upstream_results(1).assign(total_bets=0, final_capital=1000.0, **dict.fromkeys(undefined))
    assert import_results(database, csv(frame, tmp_path / "r")).inserted == 1
    row = rows(database).iloc[0]
    assert row[["roi", "max_drawdown"]].tolist() == [0.0, 0.0]
    assert row[["win_rate", "sharpe_ratio", "profit_factor", "composite_score"]].isna().all()


def test_a_month_of_a_table_in_per_cent_is_refused(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    import_results(database, csv(fractions(), tmp_path / "r"))
    connection.execute("UPDATE backtest_results SET total_return = 100 * total_return")
    with read_session(database) as session:
        table, violations = load_rows(session, RowQuery(resolve_source(database)), NOW)
    assert table.num_rows == 0
    assert violations["column"].tolist() == ["roi"] * 6
    assert violations["reason"].str.contains("hundredth|in per cent|at least -1").all()
