"""A mapping applied to the columns of an export."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.mapping.columns import MappedColumns
from cleverbetter_dagster.store.imports.mapping.spec import ImportMapping


def mapped(export: dict[str, list[Any]], path: str = "export.csv", **mapping: Any) -> dict[str, list[Any]]:
    """The columns of an export after a mapping."""
    table = pa.table(export)
    spec = ImportMapping.model_validate(mapping)
    values: dict[str, list[Any]] = MappedColumns(spec, Path(path), table.column_names).apply(table).to_pydict()
    return values


@pytest.mark.parametrize(
    ("unit", "written", "ours"),
    [
        ("fraction", "0.123", "0.123"),
        ("percent", "12.3%", "0.123"),
        ("negative percent", "-12.3", "0.123"),
        ("negative fraction", "-0.123", "0.123"),
        ("basis points", "1230", "0.123"),
        ("percent", "unknown", "unknown"),
    ],
)
def test_values_are_converted_in_decimals(unit: str, written: str, ours: str) -> None:
    values = mapped({"fall": [written]}, columns={"max_drawdown": "fall"}, units={"max_drawdown": unit})
    assert values["max_drawdown"] == [ours]


def test_a_profit_in_money_becomes_a_return_on_capital() -> None:
    values = mapped(
        {"pnl": ["50", "-25"]},
        columns={"total_return": "pnl"},
        units={"total_return": "currency"},
        constants={"initial_capital": 1000},
    )
    assert values["total_return"] == ["0.05", "-0.025"]


def test_a_return_is_made_of_two_capitals() -> None:
    values = mapped(
        {"Final cash": ["1100"]}, columns={"final_capital": "Final cash"}, constants={"initial_capital": 1000}
    )
    assert values["total_return"] == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2023-03-26 00:59:00", "2023-03-26T00:59:00+00:00"),
        ("2023-03-26 02:00:00", "2023-03-26T01:00:00+00:00"),
        ("2023-10-29 01:30:00", "2023-10-29T00:30:00+00:00"),  # this hour came twice
        ("2023-07-01T12:00:00Z", "2023-07-01T12:00:00+00:00"),
        ("yesterday", "yesterday"),
    ],
)
def test_instants_without_a_zone_are_get_that_of_the_mapping(written: str, instant: str) -> None:
    values = mapped({"End": [written]}, columns={"end_date": "End"}, dates={"timezone": "Europe/London"})
    assert values["end_date"] == [instant]


def test_an_id_tells_windows_and_runs_apart() -> None:
    export = {"start_date": ["2023-01-01", "2023-02-01", "2023-01-01"], "run_date": ["2023-03-01"] * 2 + ["2023-04-01"]}
    ids = mapped({**export, "end_date": ["2023-02-01"] * 3, "strategy_id": ["s"] * 3})["id"]
    assert len(set(ids)) == 3


def test_an_id_does_not_depend_on_how_dates_are_written() -> None:
    one, other = (mapped({"start_date": [text]})["id"] for text in ("2023-01-01", "2023-01-01 00:00:00"))
    assert one == other


def test_the_name_of_a_file_gives_columns() -> None:
    values = mapped({"x": ["1"]}, "sma_cross_2023-01-31.csv", file={"name": "{strategy_id}_{end_date}.csv"})
    assert (values["strategy_id"], values["end_date"]) == (["sma_cross"], ["2023-01-31T00:00:00+00:00"])


def test_a_file_of_another_name_is_refused() -> None:
    with pytest.raises(ImportFileError, match=r"names like \{strategy_id\}\.json, and export\.csv is not"):
        mapped({"x": ["1"]}, file={"name": "{strategy_id}.json"})


def test_the_file_itself_may_be_the_strategy() -> None:
    assert mapped({"x": ["1"]}, "sma.csv.gz", columns={"strategy_id": "{file}"})["strategy_id"] == ["sma"]


def test_the_first_column_that_is_there_counts() -> None:
    values = mapped({"Trades": ["7"]}, columns={"total_bets": ["Total Closed Trades", "Trades"]})
    assert values["total_bets"] == ["7"]


def test_all_columns_that_an_export_lacks_are_named() -> None:
    with pytest.raises(ImportFileError) as raised:
        mapped({"Begin": ["x"], "PnL": ["1"]}, columns={"start_date": "Start", "win_rate": ["Wins", "Win %"]})
    assert str(raised.value).splitlines()[:3] == [
        "export.csv lacks columns that the mapping names:",
        "  start_date: from 'Start', which is probably 'Begin'",
        "  win_rate: from 'Wins' or 'Win %'",
    ]


def test_columns_with_our_names_need_no_entry() -> None:
    values = mapped({"strategy_id": ["s"], "W": ["50"]}, columns={"win_rate": "W"}, units={"win_rate": "percent"})
    assert (values["strategy_id"], values["win_rate"]) == (["s"], ["0.5"])


def test_ratios_that_a_tool_does_not_measure_are_missing() -> None:
    values = mapped({"total_return": [0.1], "max_drawdown": [0.1], "win_rate": [0.5]})
    assert (values["sharpe_ratio"], values["profit_factor"]) == ([None], [None])
    # Gain 0.4 of its scale; quality 0.3 * 0.4 + 0.2 * 0.4 + 0.2 / 3 + 0.15 * 0.8 + 0.15 * 0.5.
    assert values["composite_score"] == pytest.approx([0.5 * (0.395 + 0.2 / 3) + 0.5 * 0.4])


def test_lengths_of_time_become_numbers_of_days() -> None:
    spec = ImportMapping.model_validate(
        {"features": {"longest_fall": "Max. Drawdown Duration"}, "units": {"longest_fall": "duration in days"}}
    )
    table = pa.table({"Max. Drawdown Duration": ["2 days 12:00:00", None]})
    columns = MappedColumns(spec, Path("x.csv"), table.column_names, features=True)
    assert columns.apply(table)["longest_fall"].to_pylist() == ["2.5", None]


def test_a_mapping_without_features_is_refused_for_features() -> None:
    with pytest.raises(ImportFileError, match=r"has no \[features\]"):
        MappedColumns(ImportMapping(), Path("x.csv"), ["a"], features=True)
