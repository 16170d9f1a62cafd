"""Results as files beside what a command shows: CSV for programs, XLSX for people with a spreadsheet."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cleverbetter_dagster.cli.output import plain, progress_console
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.escaping import visible

WIDEST_COLUMN, NARROWEST_COLUMN = 60, 10
"""Characters. Columns are as wide as their values, between these."""

MOST_ROWS = 1_048_576 - 1
"""Below its heading, as many as the format has."""

INSTANT = "yyyy-mm-dd hh:mm:ss"
TEXT = "s"
"""Type of a cell that is shown as it is: a text that begins with an equals sign is no formula."""

Row = Mapping[Any, Any]


def write_files(rows: Sequence[Row], csv_file: Path | None, xlsx_file: Path | None) -> None:
    """Write rows with equal keys to the files that were asked for, and say so.

    Raises:
        InvalidInput: a file cannot be written.
    """
    for file, write in ((csv_file, _write_csv), (xlsx_file, _write_xlsx)):
        if file is None:
            continue
        if not rows:
            _say(f"There is nothing to write, so {file} was not made.")
            continue
        try:
            write(file, rows)
        except OSError as error:
            raise InvalidInput(f"Cannot write {file}: {error}. Name a file in a folder of yours.") from error
        _say(f"{len(rows):,} {'row is' if len(rows) == 1 else 'rows are'} in {file}.")


def _write_csv(file: Path, rows: Sequence[Row]) -> None:
    """What is missing is empty, and instants are ISO 8601."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: plain(value) for name, value in row.items()} for row in rows)


def _write_xlsx(file: Path, rows: Sequence[Row]) -> None:
    """Numbers and instants (UTC, as the format has no time zones) as such; the heading stays in sight."""
    from openpyxl import Workbook  # slow to import
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    if len(rows) > MOST_ROWS:
        raise InvalidInput(f"{file} would have {len(rows):,} rows, and XLSX has {MOST_ROWS:,}; write CSV with --csv.")
    book = Workbook(write_only=True)
    sheet = book.create_sheet("cleverbetter")
    sheet.freeze_panes = "A2"
    for place, name in enumerate(rows[0], 1):
        longest = max(len(str(name)), *(len(str(plain(row[name]))) for row in rows))
        sheet.column_dimensions[get_column_letter(place)].width = min(max(longest, NARROWEST_COLUMN), WIDEST_COLUMN) + 2

    def cell(value: Any, *, heading: bool = False) -> Any:
        value = plain(value)
        if isinstance(value, datetime):
            made = WriteOnlyCell(sheet, value.astimezone(UTC).replace(tzinfo=None))
            made.number_format = INSTANT
            return made
        if value is None or isinstance(value, bool | int | float):
            return value
        made = WriteOnlyCell(sheet, visible(str(value)))
        made.data_type = TEXT
        if heading:
            made.font = Font(bold=True)
        return made

    with file.open("wb") as out:  # first of all: a book that cannot be saved complains when it is thrown away
        sheet.append([cell(name, heading=True) for name in rows[0]])
        for row in rows:
            sheet.append([cell(value) for value in row.values()])
        book.save(out)


def _say(text: str) -> None:
    progress_console().print(text, soft_wrap=True, highlight=False, markup=False)
