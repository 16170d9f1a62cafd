"""Results as files: CSV as programs read it, XLSX that a spreadsheet shows and does not obey."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook

from cleverbetter_dagster.cli.files import MOST_ROWS, write_files
from cleverbetter_dagster.errors import InvalidInput

THEN = datetime(2023, 11, 30, 12, tzinfo=UTC)


def cells(file: Path) -> list[list[object]]:
    return [[cell.value for cell in row] for row in load_workbook(file)["cleverbetter"].rows]


def test_a_csv_file_has_nothing_for_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "stakes.csv"
    write_files([{"strategy": "a, b", "stake": 0.02}, {"strategy": "c", "stake": float("nan")}], file, None)
    assert file.read_text() == 'strategy,stake\n"a, b",0.02\nc,\n'


def test_numbers_and_instants_of_a_spreadsheet_are_such(tmp_path: Path) -> None:
    file = tmp_path / "stakes.xlsx"
    frame = pd.DataFrame({"strategy": ["a"], "stake": [0.025], "known": [True], "n": [3], "at": [pd.Timestamp(THEN)]})
    write_files([*frame.to_dict("records"), {**frame.iloc[0].to_dict(), "stake": float("nan")}], None, file)
    first = ["a", 0.025, True, 3, datetime(2023, 11, 30, 12)]
    assert cells(file) == [["strategy", "stake", "known", "n", "at"], first, ["a", None, *first[2:]]]


@pytest.mark.parametrize("name", ['=HYPERLINK("http://evil.example")', "+1+1", "@SUM(A1)", "-2", "=1"])
def test_a_name_that_looks_like_a_formula_is_text(tmp_path: Path, name: str) -> None:
    file = tmp_path / "stakes.xlsx"
    write_files([{"strategy": name}], None, file)
    cell = load_workbook(file)["cleverbetter"]["A2"]
    assert (cell.value, cell.data_type) == (name, "s")


def test_controls_that_xlsx_cannot_hold_are_signs(tmp_path: Path) -> None:
    file = tmp_path / "stakes.xlsx"
    write_files([{"strategy": "a\x1b[31mb\x00", "x" * 300: "y" * 300}], None, file)
    assert cells(file)[1][0] == "a␛[31mb␀"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    for files in ((tmp_path, None), (None, tmp_path), (None, tmp_path / "missing" / "a.xlsx")):
        with pytest.raises(InvalidInput, match="Name a file in a folder of yours"):
            write_files([{"strategy": "a"}], *files)


def test_nothing_to_write_is_told_and_makes_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.xlsx"
    write_files([], None, file)
    assert not file.exists()
    assert "There is nothing to write" in capsys.readouterr().err


def test_more_rows_than_the_format_has_are_refused(tmp_path: Path) -> None:
    rows = [{"strategy": "a"}] * (MOST_ROWS + 1)
    with pytest.raises(InvalidInput, match="write CSV with --csv"):
        write_files(rows, None, tmp_path / "a.xlsx")
