"""Exports that other tools wrote, imported with the preset of the tool. `tool_exports` says how each was made."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import FileForm, ImportReport, import_files
from cleverbetter_dagster.store.imports.mapping.loading import load_preset
from cleverbetter_dagster.store.postgres.database import psycopg_connect

Rows = psycopg.Cursor[dict[str, Any]]
FILES = Path(__file__).parent.parent / "tool_exports" / "files"


@pytest.fixture
def rows(database: Settings) -> Iterator[Rows]:
    with (
        psycopg_connect(database, "rows", autocommit=True) as connection,
        connection.cursor(row_factory=dict_row) as rows,
    ):
        yield rows


def import_export(settings: Settings, file: str, preset: str, **constants: str) -> ImportReport:
    return import_files(settings, FILES / file, None, form=FileForm(load_preset(preset).with_constants(constants)))


def row_of(rows: Rows, strategy: str, start: str) -> dict[str, Any]:
    """A row as it is in the table, its times as dates in UTC."""
    row = rows.execute(
        "SELECT *, (start_date AT TIME ZONE 'UTC')::date::text AS start, (end_date AT TIME ZONE 'UTC')::date::text "
        "AS end, (run_date AT TIME ZONE 'UTC')::text AS run FROM backtest_results "
        "WHERE strategy_id = %s AND (start_date AT TIME ZONE 'UTC')::date = %s",
        [strategy, start],
    ).fetchone()
    assert row is not None
    return row


def numbers(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("total_return", "sharpe_ratio", "max_drawdown", "total_bets", "win_rate", "profit_factor")
    return tuple(row[name] for name in names)


def test_backtesting_py_is_in_per_cent_with_negative_drawdowns(database: Settings, rows: Rows) -> None:
    """It bought 9 units at 100 and sold them at 72: 252 of 1000, and all of it downhill."""
    import_export(database, "backtesting_lines.csv", "backtesting.py")
    row = row_of(rows, "Hold", "2023-02-01")
    assert numbers(row) == (-0.252, -106813965.13353658, 0.252, 1, 0.0, 0.0)
    assert (row["end"], row["run"], row["method"]) == ("2023-02-06", "2023-02-06 00:00:00", "backtesting.py")
    assert row["final_capital"] == 748
    # Return 0.16533 of its scale; half of it, and half of 0.2 * 0.16533 + 0.15 * (1 - 0.504).
    assert row["composite_score"] == pytest.approx(0.1364, abs=1e-12)


def test_ratios_that_backtesting_py_leaves_empty_are_missing(database: Settings, rows: Rows) -> None:
    """It bought 9 units at 100, saw them fall from 110 to 99, sold at 120; the other strategy never bought."""
    report = import_export(database, "backtesting_lines.csv", "backtesting.py").files[0]
    assert (report.inserted, report.quarantined) == (4, 0)
    won, never = row_of(rows, "Hold", "2023-01-02"), row_of(rows, "Never", "2023-01-02")
    assert numbers(won) == pytest.approx((0.18, 0.27281152915424534, 99 / 1090, 1, 1.0, math.nan), nan_ok=True)
    assert numbers(never) == pytest.approx((0.0, math.nan, 0.0, 0, math.nan, math.nan), nan_ok=True)


def test_statistics_as_lines_and_as_columns_are_the_same_rows(database: Settings) -> None:
    first = import_export(database, "backtesting_lines.csv", "backtesting.py").files[0]
    for file in ("backtesting_lines.csv", "backtesting_side_by_side.csv"):
        again = import_export(database, file, "backtesting.py").files[0]
        assert (again.rows_read, again.inserted, again.unchanged) == (4, 0, first.inserted)
        assert again.quarantined == first.quarantined


def test_vectorbt_names_a_strategy_by_its_column(database: Settings, rows: Rows) -> None:
    """It bought 10 units at 100 and sold them at 96, after a fall from 100 to 80."""
    import_export(database, "vectorbt_lines.csv", "vectorbt")
    row = row_of(rows, "outsiders", "2023-01-02")
    assert numbers(row) == (-0.04, -0.2681865334240669, 0.2, 1, 0.0, 0.0)
    assert (row["initial_capital"], row["final_capital"], row["end"]) == (1000, 960, "2023-01-07")


@pytest.mark.parametrize("file", ["vectorbt_lines.csv", "vectorbt_side_by_side.csv"])
def test_shapes_of_a_vectorbt_portfolio_have_the_same_rows(database: Settings, file: str) -> None:
    first = import_export(database, "vectorbt_lines.csv", "vectorbt").files[0]
    again = import_export(database, file, "vectorbt").files[0]
    assert (again.rows_read, again.inserted, again.unchanged) == (2, 0, first.inserted)


def test_instants_in_json_are_milliseconds_since_1970(database: Settings, rows: Rows) -> None:
    import_export(database, "vectorbt.json", "vectorbt")
    row = row_of(rows, "outsiders", "2023-01-02")
    assert (row["total_return"], row["end"]) == (-0.04, "2023-01-07")


def test_freqtrade_has_a_row_for_each_strategy_in_its_zip(database: Settings, rows: Rows) -> None:
    """Five losses of about 5.2% of a tenth of the capital."""
    report = import_export(database, "freqtrade.zip", "freqtrade").files[0]
    assert (report.rows_read, report.inserted, report.quarantined) == (3, 3, 0)
    row = row_of(rows, "BuyHigh", "2023-01-01")
    assert numbers(row) == (-0.02597483745, -100.0, 0.025974837449999996, 5, 0.0, 0.0)
    assert (row["end"], row["run"]) == ("2023-01-06", "2024-01-05 12:00:00")
    assert (row["initial_capital"], row["final_capital"]) == (1000, 974.02516255)
    again = import_export(database, "freqtrade.zip", "freqtrade").files[0]
    assert (again.inserted, again.unchanged) == (0, 3)


def test_features_of_an_export_belong_to_its_rows(database: Settings, rows: Rows) -> None:
    both = FILES / "freqtrade.zip"
    import_files(database, both, both, form=FileForm(load_preset("freqtrade")))
    stored = rows.execute(
        "SELECT features FROM ml_features f JOIN backtest_results r ON r.id = f.backtest_result_id "
        "WHERE strategy_id = 'BuyLow'"
    ).fetchall()
    assert [row["features"]["holding_seconds"] for row in stored] == [18000.0]


def test_flumine_orders_become_a_row_for_each_month(database: Settings, rows: Rows) -> None:
    """Won 20, lost 10, won 20 in January; lost 10 twice in February, of 100."""
    report = import_export(database, "flumine_orders.txt", "flumine", initial_capital="100").files[0]
    assert (report.rows_read, report.inserted + report.quarantined) == (4, 4)
    row = row_of(rows, "back_first", "2023-01-01")
    assert (row["end"], row["final_capital"], row["total_bets"], row["win_rate"]) == ("2023-01-31", 130, 3, 2 / 3)
    assert numbers(row)[::5] == (pytest.approx(0.3), 4.0)
    assert row["max_drawdown"] == pytest.approx(10 / 120)
    # Daily returns 0.2, -0.1, 0.2 and 28 times 0: mean 0.3 / 31, squares 0.09.
    deviation = ((0.09 - 0.3**2 / 31) / 30) ** 0.5
    assert row["sharpe_ratio"] == pytest.approx(0.3 / 31 / deviation * 365**0.5)
    again = import_export(database, "flumine_orders.txt", "flumine", initial_capital="100").files[0]
    assert (again.inserted, again.unchanged) == (0, report.inserted)


def test_sports_betting_lacks_two_metrics_of_its_folds(database: Settings) -> None:
    with pytest.raises(ImportFileError) as raised:
        import_export(database, "sports_betting.csv", "sports-betting", strategy_id="odds")
    assert "max_drawdown, win_rate: no column is like them" in str(raised.value)


def test_bets_of_sports_betting_become_a_month(database: Settings, rows: Rows) -> None:
    constants = {"strategy_id": "odds", "initial_capital": "10000"}
    import_export(database, "sports_betting_bets.csv", "bets", **constants)
    row = row_of(rows, "odds", "2024-05-01")
    assert (row["total_bets"], row["win_rate"]) == (110, pytest.approx(94 / 110))
    assert (row["total_return"], row["profit_factor"]) == (pytest.approx(0.1233), pytest.approx(2033 / 800))


def test_bets_without_a_capital_are_no_returns(database: Settings) -> None:
    with pytest.raises(ImportFileError, match="--set initial_capital=1000"):
        import_export(database, "flumine_orders.txt", "flumine")


def test_what_an_export_lacks_comes_from_constants(database: Settings, rows: Rows) -> None:
    with pytest.raises(ImportFileError, match="strategy_id: from '_strategy'"):
        import_export(database, "backtesting_one.json", "backtesting.py")
    import_export(database, "backtesting_one.json", "backtesting.py", strategy_id="hold", profit_factor="2")
    assert rows.execute("SELECT count(*) AS n FROM backtest_results").fetchone() == {"n": 1}


def test_a_preset_for_another_tool_is_named(database: Settings) -> None:
    with pytest.raises(ImportFileError, match="looks like an export of vectorbt: --preset vectorbt"):
        import_export(database, "vectorbt_lines.csv", "backtesting.py")


@pytest.mark.parametrize(
    ("file", "preset"), [("backtesting_side_by_side.csv", "backtesting.py"), ("vectorbt_lines.csv", "vectorbt")]
)
def test_an_export_without_a_preset_is_recognised(database: Settings, file: str, preset: str) -> None:
    with pytest.raises(ImportFileError, match=f"looks like an export of {preset}: add --preset {preset}"):
        import_files(database, FILES / file, None)
